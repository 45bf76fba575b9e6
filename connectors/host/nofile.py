"""The action `raise_nofile`: lets a running process open more files. Knows nothing of who asks or why."""

import resource
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from connectors.host.files import count_open, sizes_tell
from connectors.sources import proc as processes
from connectors.sources.proc import Stat, container_of_pid
from engine.facts.host import ProcessFiles
from engine.ports.actions import ContainerGuard, Outcome, failed
from engine.ports.clock import Clock, event_time

DEFAULT_CEILING = 102_400
"""What operators set when calico-node ran out of files."""


class RaiseNofile:
    """Raises the soft limit of open files (prlimit(2)); never above the hard limit or the ceiling, never down."""

    name = "raise_nofile"

    def __init__(
        self,
        *,
        ceiling: int = DEFAULT_CEILING,
        started: Callable[[int], int | None],
        guard: ContainerGuard,
        name_of: Callable[[str], str] = lambda _: "",
        clock: Clock,
        proc: Path = processes.PROC,
    ) -> None:
        """The action.

        Args:
            ceiling: no soft limit is set above this.
            started: when the process that was reported under a pid started (`OpenFiles.started`), clock ticks after boot;
                None: no such process was reported, and then none is touched.
            guard: says why a container must not be touched, asked about the process's own.
            name_of: name of a container by its id; empty when unknown.
            clock: for event times.
            proc: where procfs of the host's process ids is.
        """
        self._ceiling = ceiling
        self._started = started
        self._guard = guard
        self._name_of = name_of
        self._proc = proc
        self._clock = clock

    async def run(self, params: Mapping[str, Any], *, touch_running: bool = False) -> Outcome:  # noqa: ARG002 - it goes on running
        """Raise the limit of `pid` to `limit`, or to as much of it as is allowed."""
        pid, wanted = _whole(params.get("pid")), _whole(params.get("limit"))
        if pid <= 1 or wanted <= 0:
            return failed("refused", "pid and limit have to be whole numbers above 1 and 0", permanent=True)
        meant = self._started(pid)
        who = processes.stat(pid, self._proc)
        if who is None or not who.alive:
            return failed("not_found", f"process {pid} has ended", permanent=True)
        if meant != who.started:
            return failed("refused", f"process {pid} is not the one whose files were counted", permanent=True)
        container = container_of_pid(pid, self._proc)
        refusal = None if container is None else await self._guard(container)
        if refusal is not None:
            return refusal
        now = processes.stat(pid, self._proc)  # it may have ended while Docker was asked
        if now is None or (now.started, container_of_pid(pid, self._proc)) != (who.started, container):
            return failed("not_found", f"process {pid} has ended", permanent=True)
        try:
            return self._raise(who, wanted)
        except ProcessLookupError:
            return failed("not_found", f"process {pid} has ended", permanent=True)
        except PermissionError:
            return failed("denied", f"the limit of process {pid} ({who.comm}) may not be set: SYS_RESOURCE is needed")
        except (OSError, ValueError) as error:
            return failed("failed", f"prlimit of process {pid}: {error}")

    def _raise(self, who: Stat, wanted: int) -> Outcome:
        soft, hard = (_finite(limit) for limit in resource.prlimit(who.pid, resource.RLIMIT_NOFILE))
        new = min(wanted, self._ceiling, hard)
        if soft >= wanted:
            return Outcome(ok=True, detail=f"the limit is {soft} already", facts=self._facts(who, soft, hard))
        if new <= soft:
            bound = f"its hard limit is {hard}" if hard <= self._ceiling else f"the ceiling is {self._ceiling}"
            return failed("refused", f"the limit is {soft} and cannot be raised: {bound}", permanent=True)
        raw_hard = resource.prlimit(who.pid, resource.RLIMIT_NOFILE)[1]
        resource.prlimit(who.pid, resource.RLIMIT_NOFILE, (new, raw_hard))
        after = processes.stat(who.pid, self._proc)
        if after is None or after.started != who.started:
            return failed("not_found", f"process {who.pid} ended meanwhile", permanent=True)
        return Outcome(
            ok=True,
            detail=f"limit of {who.comm} ({who.pid}) raised from {soft} to {new}",
            facts=self._facts(who, new, hard),
        )

    def _facts(self, who: Stat, soft: int, hard: int) -> tuple[ProcessFiles, ...]:
        """How it stands now, so that what followed from the old limit ends at once."""
        opened = count_open(who.pid, self._proc, by_size=sizes_tell(self._proc))
        if opened is None:
            return ()
        container = container_of_pid(who.pid, self._proc)
        fact = ProcessFiles(
            at=event_time(self._clock),
            source="probe",
            pid=who.pid,
            process=who.comm,
            container_id=container,
            container_name=(self._name_of(container) or None) if container else None,
            open=opened,
            soft_limit=soft,
            hard_limit=hard,
            ratio=round(opened / soft, 4) if soft else 1.0,
        )
        return (fact,)


def _whole(value: object) -> int:
    """A whole number; 0 for everything else (True is an int to Python)."""
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def _finite(limit: int) -> int:
    """RLIM_INFINITY is -1 in Python: as a number it is above all others."""
    return limit if limit >= 0 else 2**63 - 1
