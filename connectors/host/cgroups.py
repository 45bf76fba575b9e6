r"""Which container a process belongs to, from /proc/PID/cgroup (cgroups(7)). Pure but for one reader.

Shapes that runtimes and orchestrators use, version 1 (`4:memory:/…`) and 2 (`0::/…`):

    /docker/ID                                              Docker with cgroupfs
    /system.slice/docker-ID.scope                           Docker with systemd
    /kubepods/burstable/podUID/ID                           kubelet with cgroupfs
    /kubepods.slice/…/kubepods-burstable-podUID.slice/docker-ID.scope   kubelet with systemd
    …/cri-containerd-ID.scope  …/crio-ID.scope  …/libpod-ID.scope
    …/kubepods-burstable-podUID.slice:cri-containerd:ID     containerd with systemd paths under cgroupfs
    /../ID                                                  seen from a control group namespace beside it

In a container within a container the innermost one is where the process is; the outermost is the one this host's engine
knows, and that one is told.
"""

import re
from pathlib import Path

from connectors.host.proc import PROC, read

_ID = re.compile(rb"(?:^|[/:]|(?<!conmon)-)([0-9a-f]{64})(?:\.scope|\.slice)?(?=/|$)")
"""An id is a whole component of the path, alone or behind a runtime's prefix (`docker-`, `cri-containerd:`); `crio-conmon-ID`
is the monitor of a container, a process of the host."""


def container_of(cgroup: bytes) -> str | None:
    """Container id that the text of /proc/PID/cgroup names; None for a process of the host.

    Version 1 has a line for each controller, and a process may be in a container for some of them only (a cgroup made by
    hand): the first that names one is taken.
    """
    for line in cgroup.split(b"\n"):
        path = line.partition(b":")[2].partition(b":")[2]
        found = _ID.search(path)
        if found is not None:
            return found.group(1).decode("ascii")
    return None


def container_of_pid(pid: int, proc: Path = PROC) -> str | None:
    """Container id of a process; None for one of the host, and for one that is gone."""
    raw = read(proc / str(pid) / "cgroup")
    return None if raw is None else container_of(raw)
