"""Open files of processes against their limit. Knows nothing of what to do about them.

Counting the files of every process is dear: a listing of /proc/PID/fd costs a system call and more for each open file. So:
- From Linux 6.2 on the size of /proc/PID/fd is the number of open files (proc_pid_fd(5)): one stat.
- Before, FDSize in /proc/PID/status bounds it from above (fs/proc/array.c): where that is below the floor, nothing is listed.
- A process's limit and name are read when it is first seen and then every tenth look, unless it is near its limit.
"""

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase
from pathlib import Path

from connectors.sources import proc as processes
from connectors.sources.periodic import Facts, PeriodicSource
from connectors.sources.proc import container_of_pid
from connectors.sources.threads import Worker
from engine.facts import Retraction
from engine.facts.host import ProcessFiles
from engine.ports.clock import Clock

_SCAN_LIMIT_S = 30.0
_REFRESH_LOOKS = 10
_HYSTERESIS = 0.05
"""What was emitted is retracted only when it falls this far below the floor: no coming and going at the floor itself."""
_RATIO_STEP = 0.01
"""A change by less than a percent of the limit is not emitted."""
_MOST_FACTS = 500
"""Emitted at a time; those nearest to their limits go first."""


@dataclass(slots=True)
class _Known:
    """What is remembered of a process between looks."""

    comm: str
    started: int
    soft: int
    hard: int
    looks_left: int
    watched: bool
    container: str | None


def parse_limits(text: bytes) -> tuple[int, int] | None:
    """Soft and hard limit of open files from /proc/PID/limits; None when the line is not there."""
    for line in text.splitlines():
        if line.startswith(b"Max open files"):
            words = line.split()
            if len(words) >= 5:  # noqa: PLR2004 - Max, open, files, soft, hard
                return _limit(words[3]), _limit(words[4])
    return None


def _limit(word: bytes) -> int:
    return int(word) if word.isdigit() else sys.maxsize


def _fd_size(pid: int, proc: Path) -> int | None:
    for line in (processes.read(proc / str(pid) / "status") or b"").splitlines():
        if line.startswith(b"FDSize:"):
            return int(line.split()[1])
    return None


def sizes_tell(proc: Path = processes.PROC) -> bool:
    """True when the size of /proc/PID/fd is the number of open files: Linux 6.2 and later, as this process has some."""
    try:
        return (proc / "self" / "fd").stat().st_size > 0
    except OSError:
        return False


def count_open(pid: int, proc: Path = processes.PROC, *, by_size: bool, at_least: int = 0) -> int | None:
    """Open files of a process; None when it is gone or may not be looked at (CAP_SYS_PTRACE).

    Args:
        pid: the process.
        proc: where procfs is.
        by_size: what `sizes_tell` says.
        at_least: fewer do not matter: then, without `by_size`, 0 may be given for what is certainly fewer.
    """
    folder = proc / str(pid) / "fd"
    try:
        if by_size:
            return os.stat(folder).st_size  # noqa: PTH116 - Path.stat costs half as much again, and this is done for every process
        size = _fd_size(pid, proc)
        if size is None or size < at_least:
            return 0 if size is not None else None
        with os.scandir(folder) as entries:
            return sum(1 for _ in entries)
    except OSError:
        return None


class OpenFiles(PeriodicSource):
    """Emits a `process_files` fact for each process above the floor and for each that is watched; retracts it when it ends."""

    def __init__(
        self,
        *,
        clock: Clock,
        watch: Sequence[str] = (),
        watch_container: Callable[[str], bool] = lambda _: False,
        name_of: Callable[[str], str] = lambda _: "",
        floor_ratio: float = 0.5,
        interval_s: float = 15.0,
        proc: Path = processes.PROC,
    ) -> None:
        """A probe of all processes.

        Args:
            clock: for event times and pauses.
            watch: patterns of process names (`calico-*`) that are reported however few files they have open.
            watch_container: says the same of a container, by its id.
            name_of: name of a container by its id; empty when unknown.
            floor_ratio: share of the soft limit from which on any process is reported, 0 to 1.
            interval_s: seconds between two looks.
            proc: where procfs of the host's process ids is.
        """
        super().__init__(name="open_files", interval_s=interval_s, clock=clock)
        self._watch = tuple(watch)
        self._watch_container = watch_container
        self._name_of = name_of
        self._floor = floor_ratio
        self._proc = proc
        self._known: dict[int, _Known] = {}
        self._last_emitted: dict[int, ProcessFiles] = {}
        self._worker = Worker("open-files")

    def started(self, pid: int) -> int | None:
        """When the process of the fact with this pid started (clock ticks after boot); None when none was emitted."""
        known = self._known.get(pid)
        return known.started if known is not None and pid in self._last_emitted else None

    async def look(self) -> Facts:
        """Count, in a worker thread, and emit what changed."""
        found = await self._worker.run(self._count, timeout_s=_SCAN_LIMIT_S)
        at = self._now()
        facts: Facts = [
            Retraction(retract=ProcessFiles.KIND, key=str(pid), at=at, source="probe")
            for pid in self._last_emitted.keys() - found.keys()
        ]
        for pid in self._last_emitted.keys() - found.keys():
            del self._last_emitted[pid]
        for pid, opened in found.items():
            fact = self._fact(pid, opened, at)
            if _worth_emitting(fact, self._last_emitted.get(pid)):
                self._last_emitted[pid] = fact
                facts.append(fact)
        return facts

    def _count(self) -> dict[int, int]:
        """Open files of those that are to be reported."""
        by_size = sizes_tell(self._proc)
        everybody = processes.pids(self._proc)
        for pid in self._known.keys() - set(everybody):
            del self._known[pid]
        found: dict[int, int] = {}
        for pid in everybody:
            known = self._current(pid)
            if known is None:
                continue
            floor = int(known.soft * (self._floor - (_HYSTERESIS if pid in self._last_emitted else 0)))
            opened = count_open(pid, self._proc, by_size=by_size, at_least=0 if known.watched else floor)
            if opened is None or (opened < floor and not known.watched):
                continue
            # Near its limit, or watched: now the limit must be right, and the process the same.
            fresh = self._learn(pid)
            if fresh is not None and (fresh.watched or opened >= fresh.soft * self._floor or floor <= opened < known.soft):
                found[pid] = opened
        if len(found) > _MOST_FACTS:
            nearest = sorted(found, key=lambda pid: found[pid] / max(1, self._known[pid].soft), reverse=True)
            return {pid: found[pid] for pid in nearest[:_MOST_FACTS]}
        return found

    def _current(self, pid: int) -> _Known | None:
        known = self._known.get(pid)
        if known is None or known.looks_left <= 0:
            return self._learn(pid)
        known.looks_left -= 1
        return known

    def _learn(self, pid: int) -> _Known | None:
        who = processes.stat(pid, self._proc)
        limits = parse_limits(processes.read(self._proc / str(pid) / "limits") or b"")
        if who is None or limits is None or not who.alive:
            self._known.pop(pid, None)
            return None
        container = container_of_pid(pid, self._proc)
        watched = any(fnmatchcase(who.comm, pattern) for pattern in self._watch)
        watched = watched or (container is not None and self._watch_container(container))
        # A process that was not known may be about to become another program (exec): that one is looked at again soon.
        looks = _REFRESH_LOOKS if pid in self._known else 1
        known = _Known(who.comm, who.started, *limits, looks, watched, container)
        self._known[pid] = known
        return known

    def _fact(self, pid: int, opened: int, at: datetime) -> ProcessFiles:
        known = self._known[pid]
        return ProcessFiles(
            at=at,
            source="probe",
            pid=pid,
            process=known.comm,
            container_id=known.container,
            container_name=(self._name_of(known.container) or None) if known.container else None,
            open=opened,
            soft_limit=known.soft,
            hard_limit=known.hard,
            ratio=round(opened / known.soft, 4) if known.soft else 1.0,
        )


def _worth_emitting(new: ProcessFiles, old: ProcessFiles | None) -> bool:
    if old is None or round(abs(new.ratio - old.ratio), 4) >= _RATIO_STEP:
        return True
    steady = {"at", "open", "ratio"}
    return new.model_dump(exclude=steady) != old.model_dump(exclude=steady)
