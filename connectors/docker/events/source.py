"""The engine's event stream as a source of facts. Knows no HTTP: the stream comes through the port.

Two tasks. The reader does nothing but read, cut and queue, since an engine with a stalled subscriber slows down as a whole. The
worker looks commands up in batches and tells the sink, which may make it wait; if that takes so long that the queue overflows,
lines are dropped and counted, the loss is told, and the listing makes up for it.

Events are the hurry, not the truth: none tells of a failed removal, a failed start, a hang, or a death while the engine was down.
So a full listing is asked for after every connection and every loss.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog

from connectors.docker.api.lines import QUEUE_LINES, Connected, Disconnected, Item, LineQueue, LineSplitter
from connectors.docker.containers.book import Change, ContainerBook
from connectors.docker.containers.resync import Resync
from connectors.docker.containers.source_state import SourceState
from connectors.docker.events.event import EngineEvent, UnreadableEventError, fact_of, read_event
from connectors.docker.events.lookup import Lookup
from connectors.docker.events.resume import Resume
from connectors.sources.backoff import backoff
from engine.errors import EngineError
from engine.ports.docker import ContainerEngine
from engine.ports.sources import Sink

log = structlog.get_logger(__name__)

_OVERRUN = "the engine's memory of 256 events does not reach back to what was seen last"
_RESTARTED = "the engine remembers no events: it was restarted, and may have missed what happened meanwhile"


@dataclass(frozen=True, slots=True)
class EventSettings:
    """How the stream is read. Times in seconds."""

    silence: float = 600.0
    """A stream that is silent for so long is opened anew: a peer that died without a word looks just like a quiet one. No event
    is lost by it, since the next connection begins before the last event."""
    first_pause: float = 0.1
    """Pause after the first failed attempt; doubled each time."""
    longest_pause: float = 5.0
    """A restart of the engine takes up to 12 s."""
    first_event: float = 1.0
    """What the engine remembers comes at once after connecting; when nothing came in this time, it remembers nothing."""
    queue: int = QUEUE_LINES
    """Lines that wait for the worker at most; further ones are dropped, counted and made up for by a list."""
    batch: int = 500
    """Lines taken at a time: large enough for one look-up to serve many, small enough to be told within some 50 ms."""


class DockerEvents:
    """Tells `container_event` facts, and what they change in `container` facts.

    The cursor is the newest `timeNano` seen. After a restart the overlap is told again under the same fact ids.
    """

    name = "docker"

    def __init__(
        self,
        engine: ContainerEngine,
        lookup: Lookup,
        book: ContainerBook,
        resync: Resync,
        *,
        host: str = "",
        settings: EventSettings | None = None,
        now: Callable[[], int] = time.time_ns,
    ) -> None:
        """Nothing is read before `run`.

        Args:
            engine: a client for the stream alone.
            lookup: on another client.
            book: shared with the listing.
            resync: shared with the listing.
            host: name of the host in facts.
            settings: None: the defaults.
            now: nanoseconds since 1970.
        """
        self._engine = engine
        self._lookup = lookup
        self._book = book
        self._resync = resync
        self._host = host
        self._settings = settings or EventSettings()
        self._now = now
        self._state = SourceState(self.name, host)
        self._queue = LineQueue(self._settings.queue)
        self._splitter_skipped = 0
        self._unreadable: list[str] = []
        """Why lines of this batch could not be read; told once for all of them."""
        self._resume = Resume(None, now=now())
        self._first_by: float | None = None
        """Until when the first event of this connection has to come, on the loop's clock; None once that is settled."""
        self._gap_request: int | None = None
        self._dropped_told = 0

    async def run(self, sink: Sink, cursor: str | None) -> None:
        """See `FactSource`. Goes on until cancelled, whatever the engine does."""
        self._resume = Resume(cursor, now=self._now())
        self._resync.on_done(self._queue.wake)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._read(), name="docker-events-reader")
            group.create_task(self._work(sink), name="docker-events-worker")

    # --- reader ---

    async def _read(self) -> None:
        settings = self._settings
        waits = backoff(settings.first_pause, settings.longest_pause)
        while True:
            reason = "the engine ended the stream"
            silent = False
            began = time.monotonic()
            try:
                async with self._engine.events(since=self._resume.since()) as chunks:
                    self._queue.put(Connected())
                    splitter = LineSplitter()
                    while True:
                        try:
                            async with asyncio.timeout(settings.silence):
                                chunk = await anext(chunks, None)
                        except TimeoutError:
                            silent = True
                            break
                        if chunk is None:
                            break
                        for line in splitter.feed(chunk):
                            self._queue.put(line)
                        if splitter.skipped:
                            self._splitter_skipped += splitter.skipped
                            splitter.skipped = 0
                            self._queue.wake()
            except EngineError as error:
                reason = str(error)
            if not silent:
                self._queue.put(Disconnected(reason))
                if time.monotonic() - began > settings.longest_pause:
                    waits = backoff(settings.first_pause, settings.longest_pause)
                await asyncio.sleep(next(waits))

    # --- worker ---

    async def _work(self, sink: Sink) -> None:
        while True:
            items = await self._queue.take(self._settings.batch, self._patience())
            facts: list[Change] = []
            batch: list[EngineEvent] = []
            for item in items:
                if isinstance(item, bytes):
                    batch += self._event(item, facts)
                else:
                    facts += await self._tell(batch)
                    batch = []
                    facts += self._connection(item)
            facts += await self._tell(batch)
            facts += self._losses()
            if facts or batch:
                await sink.put(self._book.still_true(facts), cursor=self._resume.cursor)

    def _patience(self) -> float:
        """How long to wait for lines: not beyond the moment when a first event that did not come means a gap."""
        if self._first_by is None:
            return self._settings.silence
        return max(self._first_by - time.monotonic(), 0.0)

    def _event(self, line: bytes, facts: list[Change]) -> list[EngineEvent]:
        """The event of this line, unless it is unreadable, seen before, or of no container."""
        try:
            event = read_event(line)
        except UnreadableEventError as error:
            self._unreadable.append(str(error))
            return []
        if self._first_by is not None:
            self._first_by = None
            missed = self._resume.misses(event)
            facts += self._gap(_OVERRUN) if missed else self._state.tell("ok", self._at())
        return [event] if self._resume.is_new(event) and event.about_container else []

    async def _tell(self, events: Sequence[EngineEvent]) -> list[Change]:
        """The facts of events: first the state that an event led to, then the event."""
        if not events:
            return []
        await self._lookup.learn(events)
        exit_codes: dict[int, int] | None = None
        facts: list[Change] = []
        for event in events:
            before = (self._book.command(event.id), self._book.labels(event.id))
            changes = self._book.apply_event(event)
            command = before[0] if before[0] is not None else self._book.command(event.id)
            labels = before[1] if before[1] is not None else self._book.labels(event.id)
            exit_code = None
            if event.action == "die" and event.could_be_forged("exitCode", labels):
                if exit_codes is None:
                    exit_codes = await self._lookup.exit_codes(events)
                exit_code = exit_codes.get(event.nano)
            facts += changes
            facts.append(fact_of(event, host=self._host, command=command, labels=labels, exit_code=exit_code))
        return facts

    def _connection(self, item: Item) -> list[Change]:
        self._resync.stream_changed()
        if isinstance(item, Disconnected):
            self._first_by = None
            told = self._state.tell("lost", self._at(), item.error)
            if told:  # an engine that is away for a night is one line, not one for each attempt
                log.warning("event stream is lost", action="lose_stream", error=item.error)
            return list(told)
        request = self._resync.request()
        if self._state.status == "gap":
            self._gap_request = request
        if self._resume.expects_overlap:
            self._first_by = time.monotonic() + self._settings.first_event
            return []  # whether something was missed shows with the first event
        return list(self._state.tell("ok", self._at()))

    def _losses(self) -> list[Change]:
        """Gaps that show by what did not come, lines that did not fit; and the end of a gap."""
        facts: list[Change] = []
        if self._first_by is not None and time.monotonic() >= self._first_by:
            self._first_by = None
            facts += self._gap(_RESTARTED)
        if self._unreadable:
            count, why = len(self._unreadable), self._unreadable[-1]
            self._unreadable.clear()
            self._state.lost += count
            self._resync.request()  # what they told of shows in a list
            log.warning("events are unreadable", action="skip_events", count=count, error=why)
            facts += self._state.tell(self._state.status or "ok", self._at(), f"{count} unreadable events were skipped: {why}")
        if self._splitter_skipped:
            self._state.lost += self._splitter_skipped
            self._splitter_skipped = 0
            facts += self._gap("an event of more than 4 MiB was skipped")
        if self._queue.dropped > self._dropped_told:
            self._state.lost += self._queue.dropped - self._dropped_told
            self._dropped_told = self._queue.dropped
            facts += self._gap("events came faster than they could be told")
        if self._gap_request is not None and self._resync.is_done(self._gap_request):
            self._gap_request = None
            if self._state.status == "gap":
                facts += self._state.tell("ok", self._at())
        return facts

    def _gap(self, why: str) -> list[Change]:
        """Something was missed: say so, and have the listing make up for it."""
        self._gap_request = self._resync.request()
        log.warning("events were missed", action="list_anew", reason=why, lost=self._state.lost)
        return list(self._state.tell("gap", self._at(), why))

    def _at(self) -> datetime:
        return datetime.fromtimestamp(self._now() / 1e9, UTC)
