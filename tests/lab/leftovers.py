"""Leaves nothing behind: ends what runs in a scratch folder, unmounts what is mounted there, deletes it.

Works from /proc alone, because it has to work when the daemon is stopped, hung or gone. It touches only processes whose
command line names the folder, and their children.
"""

import hashlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

from tests.lab import processes

PREFIX = "dockwarden-lab-"
OWNER = "owner"
"""File in each scratch folder: process id, start time and process namespace of who made it."""

PATIENCE_S = 5.0
"""For what was killed to be gone."""

_SHIM = "containerd-shim-runc-v2"
_SHIM_SOCKETS = Path("/run/containerd/s")
"""containerd 1.x keeps its shims' sockets there whatever its own folder is (runtime/v2/shim/util_unix.go, SocketAddress)."""


def shims(containerd_socket: Path) -> dict[int, str]:
    """Process id and container id of every shim that this containerd started."""
    found = {}
    for pid in processes.pids():
        line = processes.argv(pid)
        if not line or Path(line[0]).name != _SHIM:
            continue
        options = dict(pairwise(line))
        if options.get("-address") == str(containerd_socket):
            found[pid] = options.get("-id", "")
    return found


def end_containers(containerd_socket: Path) -> None:
    """Kill every process of every container of this containerd, the shims excepted: they report the ends."""
    for shim in shims(containerd_socket):
        for pid in processes.descendants(shim):
            processes.send(pid, signal.SIGCONT)
            processes.send(pid, signal.SIGKILL)


def end_shims(containerd_socket: Path) -> None:
    """Kill the shims themselves, and take away what they would have taken away: their sockets and control groups."""
    for pid, container in shims(containerd_socket).items():
        processes.send(pid, signal.SIGCONT)
        processes.send(pid, signal.SIGKILL)
        _await_end(pid)
        name = hashlib.sha256(f"{containerd_socket}/moby/{container}".encode()).hexdigest()
        (_SHIM_SOCKETS / name).unlink(missing_ok=True)
        _remove_groups(container)


def _await_end(pid: int) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while processes.alive(pid) and time.monotonic() < deadline:
        time.sleep(0.01)


def _remove_groups(container: str) -> None:
    """Remove a container's control groups (v1: one for each controller; v2: one). Busy until its processes are reaped."""
    root = Path("/sys/fs/cgroup")
    deadline = time.monotonic() + PATIENCE_S
    while groups := [*root.glob(f"*/docker/{container}"), *root.glob(f"docker/{container}")]:
        for group in groups:
            with suppress(OSError):
                group.rmdir()
        if time.monotonic() > deadline:
            return
        time.sleep(0.01)


def mounts_below(folder: Path) -> list[Path]:
    """Mount points at or below the folder, the latest mounted first (so that each can be unmounted in turn)."""
    text = Path("/proc/self/mountinfo").read_text(errors="surrogateescape")
    # Fifth field, with octal escapes for space, tab, newline and backslash (proc_pid_mountinfo(5)).
    points = [
        Path(os.fsencode(line.split(" ")[4]).decode("unicode_escape").encode("latin-1").decode(errors="surrogateescape"))
        for line in text.splitlines()
    ]
    return [point for point in reversed(points) if point == folder or folder in point.parents]


def unmount_below(folder: Path) -> None:
    """Unmount everything at or below the folder, lazily where something still uses it."""
    for point in mounts_below(folder):
        subprocess.run(["umount", "-l", point], check=False, capture_output=True, timeout=10)


def delete(folder: Path) -> None:
    """Delete the folder, also when a fault left immutable files in it.

    Raises:
        OSError: it could not be deleted.
    """
    unmount_below(folder)
    try:
        shutil.rmtree(folder)
    except FileNotFoundError:
        return
    except OSError:
        subprocess.run(["chattr", "-R", "-f", "-i", folder], check=False, capture_output=True, timeout=30)
        unmount_below(folder)
        shutil.rmtree(folder)


def claim(folder: Path) -> None:
    """Write into a scratch folder whose it is."""
    (folder / OWNER).write_text(f"{os.getpid()} {processes.started(os.getpid())} {_pid_namespace()}")


def _pid_namespace() -> str:
    return str(Path("/proc/self/ns/pid").readlink())


def abandoned(parent: Path) -> Iterator[Path]:
    """Scratch folders whose maker was killed before it could clean up."""
    for folder in parent.glob(f"{PREFIX}*"):
        try:
            pid, started, namespace = (folder / OWNER).read_text().split()
        except (OSError, ValueError):
            continue
        # Of a maker in another namespace we cannot tell whether it lives.
        if namespace == _pid_namespace() and processes.started(int(pid)) != int(started):
            yield folder


def sweep(parent: Path) -> None:
    """Clean up after makers that were killed: their daemons, their containers' processes, their mounts and files."""
    for folder in abandoned(parent):
        for pid in processes.pids():
            line = processes.argv(pid)
            if line and Path(line[0]).name in ("dockerd", "containerd") and any(str(folder) + "/" in part for part in line):
                processes.send(pid, signal.SIGCONT)
                processes.send(pid, signal.SIGKILL)
        socket = folder / "exec/containerd/containerd.sock"
        end_containers(socket)
        end_shims(socket)
        # Another test may be sweeping up the same at this moment.
        with suppress(OSError):
            delete(folder)
