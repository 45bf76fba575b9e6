"""Finds and ends processes by what /proc tells of them. Knows nothing of Docker."""

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

PROC = Path("/proc")


def pids() -> Iterator[int]:
    """Every process there is at the moment."""
    return (int(entry.name) for entry in PROC.iterdir() if entry.name.isdigit())


def argv(pid: int) -> list[str]:
    """Its command line; empty for a kernel thread, a zombie, or a process that is gone."""
    try:
        raw = (PROC / str(pid) / "cmdline").read_bytes()
    except OSError:
        return []
    return raw.rstrip(b"\0").decode(errors="replace").split("\0") if raw else []


def comm(pid: int) -> str:
    """Its name as the kernel has it (15 bytes at most); empty when it is gone."""
    try:
        return (PROC / str(pid) / "comm").read_text(errors="replace").rstrip("\n")
    except OSError:
        return ""


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the third on (proc(5)): the name before them may hold spaces and brackets."""
    try:
        text = (PROC / str(pid) / "stat").read_text(errors="replace")
    except OSError:
        return []
    return text.rpartition(")")[2].split()


def state(pid: int) -> str:
    """One letter of proc(5): R, S, D, T (stopped), Z (zombie), …; empty when it is gone."""
    fields = _stat(pid)
    return fields[0] if fields else ""


def parent(pid: int) -> int:
    """Its parent's process id; 0 when it is gone."""
    fields = _stat(pid)
    return int(fields[1]) if fields else 0


def started(pid: int) -> int:
    """When it started, in clock ticks since boot: tells a process from a later one with the same id. 0 when it is gone."""
    fields = _stat(pid)
    return int(fields[19]) if fields else 0


def alive(pid: int) -> bool:
    """True while it runs; a zombie does not."""
    return state(pid) not in ("", "Z", "X")


def descendants(pid: int) -> list[int]:
    """Its children, their children, and so on, parents first."""
    children: dict[int, list[int]] = {}
    for other in pids():
        children.setdefault(parent(other), []).append(other)
    found: list[int] = []
    open_ends = [pid]
    while open_ends:
        below = children.get(open_ends.pop(), [])
        found.extend(below)
        open_ends.extend(below)
    return found


def send(pid: int, what: signal.Signals) -> None:
    """Signal it; that it is gone already is no error."""
    with suppress(ProcessLookupError):
        os.kill(pid, what)
