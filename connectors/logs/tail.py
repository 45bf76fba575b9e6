"""A log file as a source of facts. The file system is `follower`'s business; this module sets the pace and hands facts over."""

import asyncio
from contextlib import suppress

from connectors.logs.assembly import Assembly, LineAssembler
from connectors.logs.follower import Follower, Line, LinePlace, advice
from connectors.logs.inotify import FileWatch
from connectors.sources.backoff import backoff
from connectors.sources.emitter import FactEmitter
from connectors.sources.status import SourceStatus
from connectors.sources.text import decode
from engine.facts import Fact
from engine.ports.clock import Clock, event_time
from engine.ports.sources import Sink

LOOK_S = 2.0
"""Seconds between two looks at a file in which nothing happens; writing to it wakes the source at once. A look is three system
calls."""

POLL_S = 0.25
"""The same where inotify is not to be had, and while another file is to be expected under the name: it delays a line by an eighth
of a second on average."""

PENDING_S = 0.1
"""The same while a report is under way, so that its end is noticed soon."""

PAUSE_S = 0.02
"""Seconds of rest after everything was read. A log in which a line is written every millisecond is read fifty times a second, not
a thousand times."""


class FileTail:
    """Follows a file across rotation and emits what its lines say."""

    def __init__(
        self, path: str, assembler: LineAssembler, *, name: str, source: str, clock: Clock, poll_s: float | None = None
    ) -> None:
        """Nothing is opened yet.

        Args:
            path: of the log as it is named while it is written; need not exist yet.
            assembler: recognises its lines.
            name: of the cursor, the task and the `source` fact.
            source: the facts' `source`: kernel, dockerd, kubelet.
            clock: for the time of lines that have none, and for pauses.
            poll_s: seconds between two looks at a file in which nothing happens; None for what is usual.
        """
        self.name = name
        self._clock = clock
        self._path = path
        self._poll_s = poll_s
        self._status = SourceStatus(name)
        self._assembly: Assembly[LinePlace] = Assembly(
            assembler, source=source, name_of=lambda place: f"log-{name}-{place.label}"
        )
        self._follower = Follower(path, self._status)

    async def run(self, sink: Sink, cursor: str | None) -> None:
        """Emit facts until cancelled. A file that is missing or unreadable is a `source` fact and is looked for again."""
        emitter = FactEmitter(sink, self._status, cursor, clock=self._clock)
        watch = FileWatch()
        try:
            pauses = backoff()
            with suppress(OSError):  # the first look reports it
                self._follower.begin(cursor, event_time(self._clock))
            while True:
                try:
                    await self._to_the_end(emitter)
                except OSError as error:
                    self._status.lose(event_time(self._clock), advice(self._path, error))
                    await emitter.emit([], self._cursor)
                    await self._clock.sleep(next(pauses))
                    continue
                pauses = backoff()
                await self._rest(watch)
        finally:
            self._follower.close()
            watch.close()

    async def _rest(self, watch: FileWatch) -> None:
        """Until the file is written, or it is time for a look."""
        await self._clock.sleep(PAUSE_S)
        file = self._follower.file
        if file is None:
            watch.forget()
        elif watch.watch(file.fd, (file.device, file.inode)):
            return  # what was written before it was watched wakes nobody: read once more
        usual = LOOK_S if watch.works and self._follower.settled else POLL_S
        pace = usual if self._poll_s is None else self._poll_s
        await watch.wait(pace if self._assembly.held is None else min(pace, PENDING_S))

    async def _to_the_end(self, emitter: FactEmitter) -> None:
        """Read all there is. Gives way to the rest of the process after every chunk."""
        while True:
            now = event_time(self._clock)
            lines = self._follower.read(now)
            if lines is None:
                lines = self._follower.look(now)
            if lines is None:
                await emitter.emit(self._assembly.flush(now), self._cursor)
                return
            await emitter.emit(self._facts(lines), self._cursor)
            await asyncio.sleep(0)

    def _facts(self, lines: list[Line]) -> list[Fact]:
        facts: list[Fact] = []
        now = event_time(self._clock)
        damaged = 0
        for number in self._assembly.pick([raw for _, raw in lines]):  # all of them where one is damaged
            place, raw = lines[number]
            text, broken = decode(raw)
            damaged += broken
            found = self._assembly.feed(text, now, place)
            if found:
                facts += found
        if damaged:
            self._status.damage(now, f"{self._path}: lines that are not valid UTF-8 or hold NUL bytes", damaged)
        return facts

    def _cursor(self) -> str | None:
        held = self._assembly.held
        place = held.file.place(held.offset) if held is not None else self._follower.place()
        return None if place is None else place.to_cursor()
