"""Docker's event stream as a source of facts. Knows no HTTP: the stream comes through the port.

Two tasks. The reader does nothing but read, cut and queue, since a daemon with a stalled subscriber slows down as a whole. The
worker looks commands up in batches and hands facts to the sink, which may make it wait; if that takes so long that the queue
overflows, lines are dropped and counted, the loss is reported, and the listing makes up for it.

Events are the hurry, not the truth: none reports a failed removal, a failed start, a hang, or a death while Docker was down.
So a full listing is asked for after every connection and every loss.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from connectors.docker.api.event import DockerEvent, UnreadableEventError, fact_of, read_event
from connectors.docker.containers.book import Change, ContainerBook
from connectors.docker.containers.resync import Resync
from connectors.docker.events.lookup import Lookup
from connectors.docker.events.queue import QUEUE_LINES, Connected, Disconnected, Item, LineQueue
from connectors.docker.events.resume import Resume
from connectors.sources.backoff import backoff
from connectors.sources.lines import LineSplitter
from connectors.sources.status import SourceStatus
from engine.errors import DockerError
from engine.ports.clock import Clock, event_time
from engine.ports.docker import DockerApi
from engine.ports.sources import Sink

LINE_BYTES = 4 * 1024 * 1024
"""A longer line is skipped. dockerd refuses a create request above 4 MiB in most versions, so labels cannot be larger."""

_OVERRUN = "Docker's memory of 256 events does not reach back to what was seen last"
_RESTARTED = "Docker remembers no events: it was restarted, and may have missed what happened meanwhile"


@dataclass(frozen=True, slots=True)
class EventSettings:
    """How the stream is read. Times in seconds."""

    silence: float = 600.0
    """A stream that is silent for so long is opened anew: a peer that died without a word looks just like a quiet one. No event
    is lost by it, since the next connection begins before the last event."""
    first_pause: float = 0.1
    """Pause after the first failed attempt; doubled each time."""
    longest_pause: float = 5.0
    """A restart of Docker takes up to 12 s."""
    first_event: float = 1.0
    """What Docker remembers comes at once after connecting; when nothing came in this time, it remembers nothing."""
    queue: int = QUEUE_LINES
    """Lines that wait for the worker at most; further ones are dropped, counted and made up for by a list."""
    batch: int = 500
    """Lines taken at a time: large enough for one look-up to serve many, small enough to be handed over within some 50 ms."""


class DockerEvents:
    """Emits `container_event` facts, and what they change in `container` facts.

    The cursor is the newest `timeNano` seen. After a restart the overlap is emitted again under the same fact ids.
    """

    name = "docker"

    def __init__(
        self,
        docker: DockerApi,
        lookup: Lookup,
        book: ContainerBook,
        resync: Resync,
        *,
        clock: Clock,
        settings: EventSettings | None = None,
    ) -> None:
        """Nothing is read before `run`.

        Args:
            docker: a client for the stream alone.
            lookup: on another client.
            book: shared with the listing.
            resync: shared with the listing.
            clock: for the time of the first connection, and of what the source says of itself.
            settings: None: the defaults.
        """
        self._docker = docker
        self._lookup = lookup
        self._book = book
        self._resync = resync
        self._settings = settings or EventSettings()
        self._clock = clock
        self._status = SourceStatus(self.name, emitted_by="docker", immediate=True)
        self._queue = LineQueue(self._settings.queue)
        self._skipped = 0
        self._unreadable: list[str] = []
        """Why lines of this batch could not be read; reported once for all of them."""
        self._resume = Resume(None, now=self._nanoseconds())
        self._first_by: float | None = None
        """Until when the first event of this connection has to come, on the loop's clock; None once that is settled."""
        self._gap_request: int | None = None
        self._dropped_counted = 0

    async def run(self, sink: Sink, cursor: str | None) -> None:
        """See `FactSource`. Goes on until cancelled, whatever Docker does."""
        self._resume = Resume(cursor, now=self._nanoseconds())
        self._book.remember_gone(self._resume.gone_before)
        self._resync.on_done(self._queue.wake)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._read(), name="docker-events-reader")
            group.create_task(self._work(sink), name="docker-events-worker")

    def clock_stepped(self, step: timedelta) -> None:
        """The machine's clock was set: go on from the same event; the list makes up for what got lost between."""
        self._resume.shift(round(step.total_seconds() * 1_000_000) * 1000)
        self._resync.request()

    # --- reader ---

    async def _read(self) -> None:
        settings = self._settings
        waits = backoff(settings.first_pause, settings.longest_pause)
        while True:
            reason = "Docker ended the stream"
            silent = False
            began = self._clock.monotonic()
            try:
                async with self._docker.events(since=self._resume.since()) as chunks:
                    self._queue.put(Connected())
                    splitter = LineSplitter(limit=LINE_BYTES, leave_out=True)
                    while True:
                        try:
                            async with asyncio.timeout(settings.silence):
                                chunk = await anext(chunks, None)
                        except TimeoutError:
                            silent = True
                            break
                        if chunk is None:
                            break
                        self._queue.extend(line for _, line in splitter.feed(chunk) if line.strip())
                        if splitter.cut:
                            self._skipped += splitter.cut
                            splitter.cut = 0
                            self._queue.wake()
            except DockerError as error:
                reason = str(error)
            if not silent:
                self._queue.put(Disconnected(reason))
                if self._clock.monotonic() - began > settings.longest_pause:
                    waits = backoff(settings.first_pause, settings.longest_pause)
                await self._clock.sleep(next(waits))

    # --- worker ---

    async def _work(self, sink: Sink) -> None:
        while True:
            items = await self._queue.take(self._settings.batch, self._patience())
            facts: list[Change] = []
            batch: list[DockerEvent] = []
            for item in items:
                if isinstance(item, bytes):
                    batch += self._event(item, facts)
                else:
                    facts += await self._facts(batch)
                    batch = []
                    facts += self._connection(item)
            facts += await self._facts(batch)
            facts += self._losses()
            if facts or batch:
                await sink.put(self._book.still_true(facts), cursor=self._resume.cursor)

    def _patience(self) -> float:
        """How long to wait for lines: not beyond the moment when a first event that did not come means a gap."""
        if self._first_by is None:
            return self._settings.silence
        return max(self._first_by - self._clock.monotonic(), 0.0)

    def _event(self, line: bytes, facts: list[Change]) -> list[DockerEvent]:
        """The event of this line, unless it is unreadable, seen before, or of no container."""
        try:
            event = read_event(line)
        except UnreadableEventError as error:
            self._unreadable.append(str(error))
            return []
        if self._first_by is not None:
            self._first_by = None
            missed = self._resume.misses(event)
            facts += self._gap(_OVERRUN) if missed else self._status.report("ok", event_time(self._clock))
        return [event] if self._resume.is_new(event) and event.about_container else []

    async def _facts(self, events: Sequence[DockerEvent]) -> list[Change]:
        """The facts of events: first the state that an event led to, then the event."""
        if not events:
            return []
        await self._lookup.learn(events)
        exit_codes: dict[int, int] | None = None
        facts: list[Change] = []
        for event in events:
            before = (self._book.command(event.id), self._book.labels(event.id))
            changes: list[Change] = []
            if self._book.is_uncertain(event):
                changes += await self._lookup.confirm(event.id)
            changes += self._book.apply_event(event)
            command = before[0] if before[0] is not None else self._book.command(event.id)
            labels = before[1] if before[1] is not None else self._book.labels(event.id)
            exit_code = None
            if event.action == "die" and event.could_be_forged("exitCode", labels):
                if exit_codes is None:
                    exit_codes = await self._lookup.exit_codes(events)
                exit_code = exit_codes.get(event.nano)
            facts += changes
            facts.append(fact_of(event, command=command, labels=labels, exit_code=exit_code))
        return facts

    def _connection(self, item: Item) -> list[Change]:
        self._resync.stream_changed()
        if isinstance(item, Disconnected):
            self._first_by = None
            return list(self._status.report("lost", event_time(self._clock), item.error))
        request = self._resync.request()
        if self._status.status == "gap":
            self._gap_request = request
        if self._resume.expects_overlap:
            self._first_by = self._clock.monotonic() + self._settings.first_event
            return []  # whether something was missed shows with the first event
        return list(self._status.report("ok", event_time(self._clock)))

    def _losses(self) -> list[Change]:
        """Gaps that show by what did not come, lines that did not fit; and the end of a gap."""
        facts: list[Change] = []
        if self._first_by is not None and self._clock.monotonic() >= self._first_by:
            self._first_by = None
            facts += self._gap(_RESTARTED)
        if self._unreadable:
            count, why = len(self._unreadable), self._unreadable[-1]
            self._unreadable.clear()
            self._resync.request()  # what they reported shows in a list
            self._status.lost += count
            error = f"{count} unreadable events were skipped: {why}"
            facts += self._status.report(self._status.status or "ok", event_time(self._clock), error)
        if self._skipped:
            facts += self._gap("an event of more than 4 MiB was skipped", self._skipped)
            self._skipped = 0
        if self._queue.dropped > self._dropped_counted:
            facts += self._gap("events came faster than they could be handled", self._queue.dropped - self._dropped_counted)
            self._dropped_counted = self._queue.dropped
        if self._gap_request is not None and self._resync.is_done(self._gap_request):
            self._gap_request = None
            if self._status.status == "gap":
                facts += self._status.report("ok", event_time(self._clock))
        return facts

    def _gap(self, why: str, lost: int = 0) -> list[Change]:
        """Something was missed: report it, and have the listing make up for it."""
        self._gap_request = self._resync.request()
        self._status.lost += lost
        return list(self._status.report("gap", event_time(self._clock), why))

    def _nanoseconds(self) -> int:
        return self._clock.wall() * 1000
