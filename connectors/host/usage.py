"""What containers use of their limits, and how long tasks wait: from control groups and PSI, nothing is asked of Docker.

A container far from its limits costs five small reads a look and brings no fact; pressure of containers is read only while the
host has any. Knows nothing of what ought to be done about it.
"""

from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from connectors.host.cgroup_files import Groups, Reading, Stall, groups_of, parse_pressure, read_groups
from connectors.host.disks import host_root
from connectors.sources import proc as processes
from connectors.sources.periodic import Facts, PeriodicSource
from connectors.sources.threads import Worker
from engine.facts import Fact, Retraction
from engine.facts.host import ContainerUsage, Pressure
from engine.ports.clock import Clock

FLOOR = 0.5
"""Share of a limit from which on a container is reported."""
_HYSTERESIS = 0.1
_THROTTLED_FLOOR = 0.1
"""Share of periods: every container with a limit of time waits now and then."""
_PRESSURE_FLOOR = 10.0
"""Percent of ten seconds in which somebody waited, from which on pressure is reported; it ends at half of it."""
_MOST_FACTS = 256
"""Containers reported at once: those nearest to a limit."""
_SCAN_LIMIT_S = 20.0
_RESOURCES = ("cpu", "memory", "io")

_Measured = dict[str, tuple["Running", Reading]]
_Stalls = dict[tuple[str, str], tuple[str | None, Stall]]


class Running(NamedTuple):
    """A running container."""

    id: str
    name: str
    pid: int | None
    """Its first process; None where a list alone told of it: then it is looked for."""


class UsageProbe(PeriodicSource):
    """Emits `container_usage` and `pressure` facts while there is something to say, and retracts them when there is not."""

    def __init__(
        self,
        running: Callable[[], Iterable[Running]],
        *,
        clock: Clock,
        interval_s: float = 15.0,
        root: Callable[[], Path] = host_root,
        proc: Path = processes.PROC,
    ) -> None:
        """A probe of these containers.

        Args:
            running: asked at each look; what is known of containers, not what Docker answers.
            clock: for event times and pauses.
            interval_s: seconds between two looks.
            root: where the host's files are.
            proc: where procfs of the host's process ids is.
        """
        super().__init__(name="usage", interval_s=interval_s, clock=clock)
        self._running = running
        self._root = root
        self._proc = proc
        self._worker = Worker("usage")
        self._groups: dict[str, tuple[int, Groups]] = {}
        self._sought: frozenset[str] = frozenset()
        self._periods: dict[str, tuple[int, int]] = {}
        self._last: dict[tuple[str, ...], Fact] = {}

    async def look(self) -> Facts:
        """Read, in a worker thread, and emit what changed."""
        running = list(self._running())
        measured, stalls = await self._worker.run(lambda: self._read(running), timeout_s=_SCAN_LIMIT_S)
        at = self._now()
        found: dict[tuple[str, ...], Fact] = {}
        usages = [self._usage(container, reading, at) for container, reading in measured.values()]
        for fact in sorted((fact for fact in usages if self._is_worth(fact)), key=_nearness, reverse=True)[:_MOST_FACTS]:
            found[fact.identity] = fact
        for (scope, resource), (name, stall) in stalls.items():
            pressure = Pressure(at=at, source="probe", scope=scope, resource=resource, container_name=name, **stall._asdict())
            if stall.some_avg10 >= _PRESSURE_FLOOR / (2 if pressure.identity in self._last else 1):
                found[pressure.identity] = pressure
        gone = [
            Retraction(retract=identity[0], key="|".join(identity[1:]), at=at, source="probe")
            for identity in self._last.keys() - found.keys()
        ]
        changed = [fact for identity, fact in found.items() if _differs(fact, self._last.get(identity))]
        kept = {identity: fact for identity, fact in self._last.items() if identity in found}
        self._last = kept | {fact.identity: fact for fact in changed}
        return [*sorted(gone, key=lambda retraction: (retraction.retract, retraction.key)), *changed]

    def _read(self, running: list[Running]) -> tuple[_Measured, _Stalls]:
        self._locate(running)
        near = FLOOR - _HYSTERESIS
        measured: _Measured = {}
        for container in running:
            if container.id in self._groups:
                measured[container.id] = (container, read_groups(self._groups[container.id][1], near=near))
        return measured, self._read_pressure(measured)

    def _locate(self, running: list[Running]) -> None:
        """Find the control groups of what is new; of containers without a known process, by one pass over all processes."""
        root = self._root() / "sys/fs/cgroup"
        pids: dict[str, int | None] = {container.id: container.pid for container in running}
        for known, (pid, _) in tuple(self._groups.items()):
            if known not in pids or pids[known] not in (None, pid):
                del self._groups[known]
        unknown = frozenset(container for container in pids if container not in self._groups and pids[container] is None)
        if unknown - self._sought:
            for process in processes.pids(self._proc):
                found = processes.container_of_pid(process, self._proc)
                if found in unknown:
                    pids[found] = pids[found] or process
        self._sought = unknown
        for container, first in pids.items():
            if first is not None and container not in self._groups:
                groups = groups_of(first, root, self._proc)
                if groups is not None:
                    self._groups[container] = (first, groups)

    def _read_pressure(self, measured: _Measured) -> _Stalls:
        """The host's, and where it has some, who waits."""
        stalls: _Stalls = {}
        for resource in _RESOURCES:
            stall = parse_pressure(processes.read(self._proc / "pressure" / resource) or b"")
            if stall is None or stall.some_avg10 < _PRESSURE_FLOOR / 2:
                continue
            stalls["host", resource] = (None, stall)
            for container, _ in measured.values():
                groups = self._groups[container.id][1]
                folder = groups.memory if groups.unified else None
                own = None if folder is None else parse_pressure(processes.read(folder / f"{resource}.pressure") or b"")
                if own is not None:
                    stalls[container.id, resource] = (container.name, own)
        return stalls

    def _usage(self, container: Running, reading: Reading, at: datetime) -> ContainerUsage:
        return ContainerUsage(
            at=at,
            source="probe",
            container_id=container.id,
            container_name=container.name,
            memory_bytes=reading.memory or 0,
            memory_limit_bytes=reading.memory_limit,
            memory_ratio=_ratio(reading.memory, reading.memory_limit),
            cpu_limit_cores=reading.cpu_limit,
            cpu_throttled_ratio=self._throttled(container.id, reading),
            pids=reading.pids or 0,
            pids_limit=reading.pids_limit,
            pids_ratio=_ratio(reading.pids, reading.pids_limit),
        )

    def _throttled(self, container: str, reading: Reading) -> float | None:
        if reading.periods is None or reading.throttled is None:
            self._periods.pop(container, None)
            return None
        now = (reading.periods, reading.throttled)
        before = self._periods.get(container)
        self._periods[container] = now
        if before is None or now[0] <= before[0]:  # the first look; nothing ran; or another run of the container
            return 0.0
        return round(max(0, now[1] - before[1]) / (now[0] - before[0]), 2)

    def _is_worth(self, fact: ContainerUsage) -> bool:
        floor = FLOOR - (_HYSTERESIS if fact.identity in self._last else 0.0)
        return (
            max(fact.memory_ratio or 0.0, fact.pids_ratio or 0.0) >= floor
            or (fact.cpu_throttled_ratio or 0.0) >= _THROTTLED_FLOOR
        )


def _ratio(used: int | None, limit: int | None) -> float | None:
    return None if used is None or not limit else round(used / limit, 3)


def _nearness(fact: ContainerUsage) -> float:
    return max(fact.memory_ratio or 0.0, fact.pids_ratio or 0.0, fact.cpu_throttled_ratio or 0.0)


def _differs(new: Fact, old: Fact | None) -> bool:
    """Figures move all the time: emitted is a hundredth of a limit, a tenth of the periods, five percent of waiting."""
    if old is None or type(new) is not type(old):
        return True
    if isinstance(new, Pressure) and isinstance(old, Pressure):
        pairs = ((new.some_avg10, old.some_avg10), (new.full_avg10, old.full_avg10))
        return any(abs(now - then) >= _PRESSURE_FLOOR / 2 for now, then in pairs)
    if isinstance(new, ContainerUsage) and isinstance(old, ContainerUsage):
        if (new.memory_limit_bytes, new.pids_limit, new.cpu_limit_cores) != (
            old.memory_limit_bytes,
            old.pids_limit,
            old.cpu_limit_cores,
        ):
            return True
        steps = (
            (new.memory_ratio, old.memory_ratio, 0.01),
            (new.pids_ratio, old.pids_ratio, 0.01),
            (new.cpu_throttled_ratio, old.cpu_throttled_ratio, 0.1),
        )
        return any(abs((now or 0.0) - (then or 0.0)) >= step for now, then, step in steps)
    return True
