"""Is Docker well: does it answer, which call hangs, whose container is to blame, how full is its pool. Knows no HTTP.

Ping, list and version are asked side by side, since each alone has been mistaken for health: with containerd stopped, ping and
list answer and version hangs; with one container stuck in its start only the inspection of that one hangs; on old daemons the
list takes the lock of each container in turn, so that one bad lock hangs the list while the others can be inspected. A slow
daemon is slow, not hung: only a call that has not answered for ten seconds hangs.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from connectors.docker.api.readings import read_pool
from connectors.docker.health.probe import Candidates, Probe
from connectors.sources.trend import Trend
from engine.facts import Fact
from engine.facts.docker import Daemon, DaemonChange
from engine.facts.timestamps import to_micros
from engine.ports.clock import Clock, event_time
from engine.ports.docker import ContainerDetail, ContainerSummary, DockerApi, DockerInfo
from engine.ports.sources import Sink

ALIVE = ("created", "running", "paused", "restarting")
"""What the list is asked for: those whose inspection may hang. On old daemons it takes every container's lock all the same."""

_WATCHED = ("version", "kernel", "storage_driver", "cgroup_driver", "root_dir")
"""Properties whose change is reported, also when it happened while nobody looked."""

_VOLATILE = {"at", "fact_id", "ping_ms", "list_ms", "data_full_in_s", "metadata_full_in_s"}
"""Fields that differ with every look; a difference in them alone is emitted with the next regular fact."""


MAX_INSPECTIONS = 16
"""Under way at a time, those that hang included. Each one that hangs holds a connection, and a pool without a free one would make
ping look hung."""

_MOMENT_S = 0.5
"""Long enough for calls that are answered at the same time, too short to be noticed as a delay."""


@dataclass(frozen=True, slots=True)
class HealthSettings:
    """How Docker is probed. Times in seconds."""

    interval: float = 10.0
    """Between two looks."""
    hung_after: float = 10.0
    """A call that has not answered for so long hangs. Busy daemons have been seen to take some seconds."""
    unreachable_interval: float = 2.0
    """Between two looks while nobody accepts the connection."""
    info_interval: float = 60.0
    """Between two looks at how it is set up and how full it is."""
    refresh: float = 60.0
    """The fact is emitted at least this often, for what changes all the time (milliseconds, trends)."""


class DockerHealth:
    """Emits the `daemon` fact, and `daemon_change` when a property differs from what was last seen.

    The cursor remembers what was last seen, as JSON, also across restarts.
    """

    name = "docker_health"

    def __init__(
        self,
        docker: DockerApi,
        *,
        clock: Clock,
        settings: HealthSettings | None = None,
        blocked_runc: Callable[[], Awaitable[int | None]] | None = None,
        on_answer: Callable[[], None] = lambda: None,
    ) -> None:
        """Nothing is asked before `run`.

        Args:
            docker: a client for probes alone, whose calls may take minutes: what hangs is decided here.
            clock: for event times, and for how long a call has waited.
            settings: None: the defaults.
            blocked_runc: finds the process id of a runc that waits for an init that is gone; asked while something hangs.
            on_answer: called after a look in which nothing hung.
        """
        self._docker = docker
        self._settings = settings or HealthSettings()
        self._blocked_runc = blocked_runc
        self._on_answer = on_answer
        self._clock = clock
        self._ping = Probe("ping", docker.ping, clock=clock)
        self._list: Probe[list[ContainerSummary]] = Probe("list", lambda: docker.list_containers(statuses=ALIVE), clock=clock)
        self._version = Probe("version", docker.version, clock=clock)
        self._info: Probe[DockerInfo] = Probe("info", docker.info, clock=clock)
        self._info_at = float("-inf")
        self._hurry = asyncio.Event()
        self._info_emitted: DockerInfo | None = None
        self._inspections: dict[str, Probe[ContainerDetail]] = {}
        self._candidates = Candidates()
        self._trends = {"data": Trend(), "metadata": Trend()}
        self._last_seen: dict[str, str] = {}
        self._last_emitted: Daemon | None = None
        self._emitted_at = float("-inf")

    @property
    def root_dir(self) -> Path | None:
        """Docker's data root, as it names it itself; None while it is not known."""
        named = self._info.value.root_dir if self._info.value is not None else ""
        root = named or self._last_seen.get("root_dir", "")
        return Path(root) if root.startswith("/") else None  # what a cursor remembers may be anything

    def hurry(self) -> None:
        """Look now, also at how Docker is set up: it may have been stopped, or started as another."""
        self._info_at = float("-inf")
        self._hurry.set()

    async def run(self, sink: Sink, cursor: str | None) -> None:
        """See `FactSource`. Goes on until cancelled, whatever Docker does."""
        self._last_seen = _remembered(cursor)
        try:
            while True:
                await self._look(sink)
                await self._pause()
        finally:
            probes: list[Probe[Any]] = [self._ping, self._list, self._version, self._info, *self._inspections.values()]
            await asyncio.gather(*(probe.stop() for probe in probes))

    async def _look(self, sink: Sink) -> None:
        self._ping.start()
        await self._wait_for([self._ping])
        error = self._ping.error
        if self._ping.task is None and error is not None and error.kind in ("unreachable", "denied"):
            await self._emit(sink, reachable=False, error=str(error))
            return
        if not self._hangs(self._ping):
            self._list.start()
            self._version.start()
            if self._info.task is None and self._clock.monotonic() >= self._info_at + self._settings.info_interval:
                self._info_at = self._clock.monotonic()
                self._info.start()
            await self._wait_for([self._list, self._version])
            if self._info.task is not None and self._version.task is None:
                await asyncio.wait({self._info.task}, timeout=_MOMENT_S)
            # The list's hang is reported before its cause is looked for.
            if self._hangs(self._list):
                await self._emit(sink, **self._diagnosis())
            await self._inspect()
        diagnosis = self._diagnosis()
        if diagnosis["hung"] is None:
            self._on_answer()
        await self._emit(sink, **diagnosis)

    async def _wait_for(self, probes: Sequence[Probe[Any]]) -> None:
        """Wait until each of these has ended or hangs; one that hangs already is not waited for again."""
        waiting = [probe for probe in probes if probe.task is not None and not self._hangs(probe)]
        tasks = {probe.task for probe in waiting if probe.task is not None}
        if tasks:
            left = max(self._settings.hung_after - probe.waited_s for probe in waiting)
            await asyncio.wait(tasks, timeout=max(left, 0.0))

    def _hangs(self, probe: Probe[Any]) -> bool:
        if probe.task is not None:
            # A hair's breadth for the timer, which may fire that much early.
            return probe.waited_s >= self._settings.hung_after * 0.999
        return probe.error is not None and probe.error.kind == "timeout"

    async def _inspect(self) -> None:
        """Inspect some containers, a bounded number at a time; those that hang from before are still under way."""
        self._inspections = {id_: probe for id_, probe in self._inspections.items() if self._hangs(probe)}
        for probe in self._inspections.values():
            probe.start()
        chosen = self._candidates.choose(self._list.value or [], all_of_them=self._hangs(self._list))
        waiting = [id_ for id_ in chosen if id_ not in self._inspections]
        while waiting and (room := MAX_INSPECTIONS - sum(probe.task is not None for probe in self._inspections.values())) > 0:
            for id_ in waiting[:room]:
                self._inspections[id_] = Probe(f"inspect-{id_[:12]}", self._inspection(id_), clock=self._clock)
                self._inspections[id_].start()
            waiting = waiting[room:]
            await self._wait_for(list(self._inspections.values()))

    def _inspection(self, container: str) -> Callable[[], Awaitable[ContainerDetail]]:
        return lambda: self._docker.inspect(container)

    def _diagnosis(self) -> dict[str, Any]:
        """Which call hangs, the most telling first, and whose container is to blame."""
        hung = next((probe.name for probe in (self._ping, self._list, self._version) if self._hangs(probe)), None)
        stuck = sorted((-probe.waited_s, id_) for id_, probe in self._inspections.items() if self._hangs(probe))
        # With containerd gone, inspections of any busy container hang: none of them is to blame.
        culprit = stuck[0][1] if stuck and hung in (None, "list") else None
        errors = [
            probe.error for probe in (self._ping, self._list, self._version) if probe.error is not None and not self._hangs(probe)
        ]
        return {
            "hung": hung or ("inspect" if culprit else None),
            "hung_container": culprit,
            "error": str(errors[0]) if errors else None,
        }

    async def _pause(self) -> None:
        """Until the next look; shorter when a call that hung is answered, information has come, or `hurry` is called."""
        unreachable = self._last_emitted is not None and not self._last_emitted.reachable
        pause = self._settings.unreachable_interval if unreachable else self._settings.interval
        probes: list[Probe[Any]] = [self._ping, self._list, self._version, self._info, *self._inspections.values()]
        pending = {probe.task for probe in probes if probe.task is not None}
        hurried = asyncio.create_task(self._hurry.wait(), name="docker-health-hurry")
        try:
            await asyncio.wait({*pending, hurried}, timeout=pause, return_when=asyncio.FIRST_COMPLETED)
        finally:
            hurried.cancel()
        self._hurry.clear()
        if pending:
            # One answer seldom comes alone: those that hung beside it get a moment too.
            await asyncio.sleep(min(_MOMENT_S, pause))

    async def _emit(self, sink: Sink, *, reachable: bool = True, hung: str | None = None, **fields: Any) -> None:
        facts: list[Fact] = []
        info = self._info.value
        if info is not None and info is not self._info_emitted:
            self._info_emitted = info
            facts += self._changes(info)
            self._follow_trends(info)
        hung_pid = await self._blocked_runc() if hung and self._blocked_runc is not None else None
        daemon = self._daemon(reachable=reachable, hung=hung, hung_pid=hung_pid, **fields)
        if self._differs(daemon) or self._clock.monotonic() >= self._emitted_at + self._settings.refresh:
            self._last_emitted, self._emitted_at = daemon, self._clock.monotonic()
            facts.append(daemon)
        if facts:
            await sink.put(list(facts), cursor=json.dumps(self._last_seen) if self._last_seen else None)

    def _differs(self, daemon: Daemon) -> bool:
        if self._last_emitted is None:
            return True
        return self._last_emitted.model_dump(exclude=_VOLATILE) != daemon.model_dump(exclude=_VOLATILE)

    def _daemon(self, *, reachable: bool, **fields: Any) -> Daemon:
        at = event_time(self._clock)
        info, version = self._info.value or DockerInfo(), self._version.value
        pool = read_pool(info.driver_status)
        return Daemon(
            fact_id=f"daemon-{to_micros(at)}",
            at=at,
            source="probe",
            reachable=reachable,
            ping_ms=self._ping.took_ms if reachable and not self._hangs(self._ping) else None,
            list_ms=self._list.took_ms if reachable and not self._hangs(self._list) else None,
            version=info.version or (version.version if version else None),
            api_version=version.api_version if version else None,
            kernel=info.kernel or (version.kernel if version else None),
            storage_driver=info.storage_driver or None,
            cgroup_driver=info.cgroup_driver or None,
            root_dir=info.root_dir or None,
            deferred_removal=pool.deferred_removal,
            deferred_deletion=pool.deferred_deletion,
            data_ratio=pool.data_ratio,
            metadata_ratio=pool.metadata_ratio,
            data_full_in_s=self._trends["data"].seconds_until(1.0),
            metadata_full_in_s=self._trends["metadata"].seconds_until(1.0),
            containers=info.containers,
            running=info.running,
            stopped=info.stopped,
            warnings=list(info.warnings),
            **fields,
        )

    def _follow_trends(self, info: DockerInfo) -> None:
        pool = read_pool(info.driver_status)
        for name, ratio in (("data", pool.data_ratio), ("metadata", pool.metadata_ratio)):
            if ratio is not None:
                self._trends[name].add(self._clock.monotonic(), ratio)

    def _changes(self, info: DockerInfo) -> list[Fact]:
        """What differs from what was last seen; then remembers."""
        at = event_time(self._clock)
        changes: list[Fact] = []
        for field in _WATCHED:
            new, old = getattr(info, field), self._last_seen.get(field, "")
            if not new:
                continue
            if old and old != new:
                fact_id = f"daemon-change-{field}-{to_micros(at)}"
                changes.append(DaemonChange(fact_id=fact_id, at=at, source="probe", field=field, old=old, new=new))
            self._last_seen[field] = new
        return changes


def _remembered(cursor: str | None) -> dict[str, str]:
    try:
        data = json.loads(cursor) if cursor else {}
    except (ValueError, RecursionError):
        return {}
    if not isinstance(data, dict):
        return {}
    return {field: value for field, value in data.items() if field in _WATCHED and isinstance(value, str)}
