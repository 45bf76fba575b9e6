"""Reads /proc (proc(5)): who a process is, when it began, and its container. Knows nothing of facts, Docker's API or signals.

Every function takes the folder that procfs is mounted on, so that a recorded tree can stand in for it, and answers None
(or nothing) for a process that is gone: between listing and reading, any of them may end.
"""

import os
import re
import stat as statistics
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")

CLOCK_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
"""In what /proc/PID/stat counts time since boot (100 a second on every Linux we know of)."""

_SMALL = 64 * 1024
"""What is read at most of files that are short: status, stat, limits, cgroup."""

_CONTAINER = re.compile(rb"(?:^|[/:]|(?<!conmon)-)([0-9a-f]{64})(?:\.scope|\.slice)?(?=/|$)")
"""An id is a whole component of the path, alone or behind a runtime's prefix (`docker-`, `cri-containerd:`); `crio-conmon-ID`
is the monitor of a container, a process of the host."""


@dataclass(frozen=True, slots=True)
class Stat:
    """What /proc/PID/stat says, as far as it matters here."""

    pid: int
    comm: str
    """Name, cut to 15 bytes by the kernel; a process may call itself anything."""
    state: str
    """R, S, D, T (stopped), t (traced), Z (zombie), X (dead), I (idle kernel thread)."""
    parent: int
    started: int
    """Clock ticks after boot. With the pid it names a process for good: a recycled pid began later."""

    @property
    def alive(self) -> bool:
        """False for a process that has ended and only waits for its parent to ask."""
        return self.state not in ("Z", "X", "x")


def read(path: Path, limit: int = _SMALL) -> bytes | None:
    """Up to `limit` bytes of a file; None when it, or its process, is gone or may not be read."""
    try:
        with path.open("rb", buffering=0) as file:
            parts: list[bytes] = []
            left = limit
            while left > 0 and (part := file.read(left)):
                parts.append(part)
                left -= len(part)
            return b"".join(parts)
    except OSError:
        return None


def read_regular(path: Path, limit: int = _SMALL) -> bytes | None:
    """The same of a regular file only, never of a pipe, device or link, which somebody may have laid there to block us."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            return file.read(limit) if statistics.S_ISREG(os.fstat(descriptor).st_mode) else None
    except OSError:
        return None


def pids(proc: Path = PROC) -> list[int]:
    """All process ids, ascending; empty when procfs cannot be listed."""
    try:
        return sorted(int(name) for name in os.listdir(proc) if name.isdecimal())  # noqa: PTH208 - iterdir costs three times as much, and this runs every few seconds
    except OSError:
        return []


def stat(pid: int, proc: Path = PROC) -> Stat | None:
    """Who this process is; None when there is none."""
    raw = read(proc / str(pid) / "stat")
    return None if raw is None else parse_stat(raw)


def parse_stat(raw: bytes) -> Stat | None:
    """One line of /proc/PID/stat. The name stands in brackets and may itself hold brackets, spaces and line ends."""
    head, opening, rest = raw.partition(b"(")
    name, closing, tail = rest.rpartition(b")")
    fields = tail.split()
    # From the state (field 3) on; the start time is field 22, so the 20th of these.
    if not opening or not closing or len(fields) < 20:  # noqa: PLR2004 - explained in the line above
        return None
    try:
        return Stat(
            pid=int(head),
            comm=name.decode(errors="backslashreplace"),
            state=fields[0].decode("ascii", "replace"),
            parent=int(fields[1]),
            started=int(fields[19]),
        )
    except ValueError:
        return None


def owner(pid: int, proc: Path = PROC) -> int | None:
    """User id of a process (proc_pid(5): its effective one); None when it is gone."""
    try:
        return (proc / str(pid)).stat().st_uid
    except OSError:
        return None


def stats(proc: Path = PROC) -> Iterator[Stat]:
    """Every process there is."""
    for pid in pids(proc):
        found = stat(pid, proc)
        if found is not None:
            yield found


def arguments(pid: int, proc: Path = PROC) -> list[str]:
    """The command line; empty for kernel threads, zombies and processes that are gone."""
    raw = read(proc / str(pid) / "cmdline") or b""
    return [part.decode(errors="backslashreplace") for part in raw.split(b"\0")[:-1]]


def uptime_s(proc: Path = PROC) -> float | None:
    """Seconds since boot."""
    raw = read(proc / "uptime")
    try:
        return float(raw.split()[0]) if raw else None
    except (ValueError, IndexError):
        return None


def age_s(process: Stat, proc: Path = PROC) -> float | None:
    """Seconds that a process has been there; None when the clock cannot be read."""
    up = uptime_s(proc)
    return None if up is None else max(0.0, up - process.started / CLOCK_TICKS_PER_S)


def namespace(pid: int, kind: str, proc: Path = PROC) -> int | None:
    """Inode number of a namespace (`mnt`, `net`, …) of a process, which names it (namespaces(7)).

    None when the process is gone, or when it may not be looked at: that takes CAP_SYS_PTRACE (ptrace(2)).
    """
    try:
        target = str((proc / str(pid) / "ns" / kind).readlink())
    except OSError:
        return None
    _, opening, number = target.partition(":[")
    return int(number[:-1]) if opening and number[:-1].isdecimal() else None


def is_container_id(text: str) -> bool:
    """True for a full container id."""
    return len(text) == 64 and _CONTAINER.match(text.encode("utf-8", "replace")) is not None  # noqa: PLR2004 - its digits


def container_of(cgroup: bytes) -> str | None:
    """Container id that the text of /proc/PID/cgroup names (cgroups(7)); None for a process of the host. Pure.

    Shapes that runtimes and orchestrators use, version 1 (`4:memory:/…`) and 2 (`0::/…`):

        /docker/ID                                              Docker with cgroupfs
        /system.slice/docker-ID.scope                           Docker with systemd
        /kubepods/burstable/podUID/ID                           kubelet with cgroupfs
        /kubepods.slice/…/kubepods-burstable-podUID.slice/docker-ID.scope   kubelet with systemd
        …/cri-containerd-ID.scope  …/crio-ID.scope  …/libpod-ID.scope
        …/kubepods-burstable-podUID.slice:cri-containerd:ID     containerd with systemd paths under cgroupfs
        /../ID                                                  seen from a control group namespace beside it

    Of a container within a container the outermost is taken: that one this host's Docker knows. Version 1 has a line for each
    controller, and a process may be in a container for some of them only (a cgroup made by hand): the first that names one.
    """
    for line in cgroup.split(b"\n"):
        path = line.partition(b":")[2].partition(b":")[2]
        found = _CONTAINER.search(path)
        if found is not None:
            return found.group(1).decode("ascii")
    return None


def container_of_pid(pid: int, proc: Path = PROC) -> str | None:
    """Container id of a process; None for one of the host, and for one that is gone."""
    raw = read(proc / str(pid) / "cgroup")
    return None if raw is None else container_of(raw)
