"""The truth about containers, by listing and inspecting them. Knows no HTTP: it asks through the port.

Three paces. A list of all when somebody asks for it (the event source, after a gap or a new connection) and every minute. A list
of those in `removing` or `dead` every two seconds, which costs next to nothing while there are none: no event reports a removal
that failed, and `filters status=dead` alone misses it (the list calls it `removing` until Docker is restarted). And, in the
same round, a bounded number of inspections.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass

import structlog

from connectors.docker.containers.book import Change, ContainerBook
from connectors.docker.containers.resync import Resync
from connectors.docker.containers.watchlist import Watchlist
from connectors.sources.backoff import backoff
from connectors.sources.status import SourceStatus
from engine.errors import DockerError
from engine.facts import Retraction
from engine.facts.docker import Container
from engine.ports.clock import Clock, event_time
from engine.ports.docker import ContainerSummary, DockerApi
from engine.ports.sources import Sink

log = structlog.get_logger(__name__)

_DYING = ("removing", "dead")
_SHARE = 50
_UNANSWERED_S = 10.0
_UNANSWERED_LONGEST_S = 1_200.0
_UNANSWERED_COUNTED = 10
"""Pauses of a container whose inspection is not answered: from ten seconds, doubled, to twenty minutes; thirty calls a night."""

_SLICE = 500
"""Facts handed over at once: a list of 6,000 must not keep an event waiting for all of them."""


@dataclass(frozen=True, slots=True)
class ListingSettings:
    """How often to look. Times in seconds."""

    interval: float = 60.0
    """Between lists of all, when nobody asks for one."""
    round: float = 2.0
    """Between lists of the dying, and so the delay with which a failed removal is noticed."""
    longest_round: float = 4.0
    """The same on a host with very many containers, where this list is slow: 27 ms with 3,000."""
    at_least: float = 1.0
    """Between two lists of all, however often they are asked for."""
    inspect_timeout: float = 5.0
    """For one inspection; one that hangs (the health probe reports it) must not keep the others waiting."""
    concurrency: int = 4
    """Inspections at a time."""
    longest_pause: float = 5.0
    """After lists that failed, the pauses grow from one second to this: no longer, since Docker may be back any moment."""


class DockerListing:
    """Emits `container` facts, and retracts them. Has no cursor: each start lists everything anew."""

    name = "docker_listing"

    def __init__(
        self,
        docker: DockerApi,
        book: ContainerBook,
        resync: Resync,
        *,
        clock: Clock,
        known: Iterable[str] = (),
        settings: ListingSettings | None = None,
    ) -> None:
        """Nothing is asked before `run`.

        Args:
            docker: a client for lists and inspections.
            book: shared with the event source.
            resync: shared with the event source.
            clock: for event times and pauses.
            known: ids of containers that working memory still holds from before a restart; those that are gone are retracted.
            settings: None: the defaults.
        """
        self._docker = docker
        self._book = book
        self._resync = resync
        self._known = frozenset(known)
        self._settings = settings or ListingSettings()
        self._clock = clock
        self._status = SourceStatus(self.name, emitted_by="docker", immediate=True)
        self._watchlist = Watchlist()
        self._filter_works = True
        self._unanswered: dict[str, tuple[int, float]] = {}
        """Containers whose inspection was given up: how often in a row, and when it is tried again."""
        self._took_s = 0.0
        """Seconds the last list of the dying took."""

    async def run(self, sink: Sink, cursor: str | None) -> None:  # noqa: ARG002 - listing starts anew each time, cursor or not
        """See `FactSource`. Goes on until cancelled, whatever Docker does."""
        settings = self._settings
        waits = backoff(1.0, settings.longest_pause)
        self._resync.request()
        next_full = self._clock.monotonic()
        while True:
            asked = await self._resync.wait(self._pause())
            try:
                if asked or self._clock.monotonic() >= next_full:
                    await self._list_all(sink)
                    next_full = self._clock.monotonic() + settings.interval
                else:
                    await self._look_at_the_dying(sink)
                await self._inspect_due(sink)
                await self._put(sink, self._status.report("ok", event_time(self._clock)))
                waits = backoff(1.0, settings.longest_pause)
            except DockerError as error:
                await self._put(sink, self._status.report("lost", event_time(self._clock), str(error)))
                next_full = self._clock.monotonic()
                await self._clock.sleep(next(waits))
            else:
                if asked:
                    await self._clock.sleep(settings.at_least)

    async def _list_all(self, sink: Sink) -> None:
        number = self._resync.begin()
        mark = self._book.mark(event_time(self._clock))
        summaries = await self._docker.list_containers()
        answered = event_time(self._clock)
        listed = {summary.id for summary in summaries}
        gone = self._known - listed
        self._known = frozenset()
        changes: list[Change] = [Retraction(retract=Container.KIND, key=id_, at=mark.at, source="docker") for id_ in sorted(gone)]
        # In slices, giving way between them: 6,000 new containers take a fifth of a second to be made facts of.
        for start in range(0, len(summaries), _SLICE):
            changes += self._book.apply_list(mark, summaries[start : start + _SLICE], answered=answered)
            await self._put(sink, changes)
            changes = []
            await asyncio.sleep(0)
        changes += self._book.retire(mark, listed)
        await self._put(sink, changes)
        self._resync.finish(number)

    def _pause(self) -> float:
        """Until the next round: such that Docker is not kept busy for more than a fiftieth of the time."""
        return min(max(self._settings.round, _SHARE * self._took_s), self._settings.longest_round)

    async def _look_at_the_dying(self, sink: Sink) -> None:
        mark = self._book.mark(event_time(self._clock))
        began = self._clock.monotonic()
        dying = await self._dying()
        self._took_s = self._clock.monotonic() - began
        changes = self._book.apply_list(mark, dying)
        await self._put(sink, changes)
        listed = {summary.id for summary in dying}
        vanished = [c.id for c in self._book.containers() if c.status in _DYING and c.id not in listed]
        await self._inspect(sink, vanished)

    async def _dying(self) -> list[ContainerSummary]:
        if self._filter_works:
            try:
                return await self._docker.list_containers(statuses=_DYING)
            except DockerError as error:
                if error.status is None or error.kind not in ("failed", "conflict"):
                    raise
                # Docker before 1.13 knows no `removing`, Podman no `dead`.
                self._filter_works = False
                log.info("docker_filter_refused", error=str(error))
        return [summary for summary in await self._docker.list_containers() if summary.status in _DYING]

    async def _inspect_due(self, sink: Sink) -> None:
        await self._inspect(sink, self._watchlist.due(self._book.containers(), self._clock.monotonic()))

    async def _inspect(self, sink: Sink, containers: list[str]) -> None:
        gate = asyncio.Semaphore(self._settings.concurrency)

        async def one(container: str) -> list[Change]:
            async with gate:
                return await self._inspected(container)

        now = self._clock.monotonic()
        due = [container for container in containers if now >= self._unanswered.get(container, (0, now))[1]]
        if due:
            results = await asyncio.gather(*(one(container) for container in due))
            await self._put(sink, [change for result in results for change in result])

    async def _inspected(self, container: str) -> list[Change]:
        mark = self._book.mark(event_time(self._clock))
        try:
            async with asyncio.timeout(self._settings.inspect_timeout):
                detail = await self._docker.inspect(container)
        except TimeoutError:
            self._note_unanswered(container)
            return []
        except DockerError as error:
            if error.kind == "timeout":
                self._note_unanswered(container)
            return self._book.apply_gone(mark, container) if error.kind == "not_found" else []
        self._unanswered.pop(container, None)
        return self._book.apply_detail(mark, detail)

    def _note_unanswered(self, container: str) -> None:
        """Docker goes on with the call, waiting for the container's lock: each further one would wait behind it."""
        count = self._unanswered.get(container, (0, 0.0))[0]
        pause = min(_UNANSWERED_S * 2**count, _UNANSWERED_LONGEST_S)
        self._unanswered[container] = (min(count + 1, _UNANSWERED_COUNTED), self._clock.monotonic() + pause)
        for known in self._unanswered.keys() - set(self._book):
            del self._unanswered[known]

    async def _put(self, sink: Sink, changes: Iterable[Change]) -> None:
        facts = self._book.still_true(changes)
        if facts:
            await sink.put(facts)
