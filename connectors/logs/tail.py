"""A log file as a source of facts. The file system is `follower`'s business; this module sets the pace and hands facts over."""

import asyncio
from contextlib import suppress

from connectors.logs.assembly import Assembly, LineAssembler
from connectors.logs.emitting import Teller, utc_now
from connectors.logs.follower import Follower, Line, LinePlace, advice
from connectors.logs.health import Health
from connectors.logs.inotify import FileWatch
from connectors.logs.lines import decode
from connectors.sources.backoff import backoff
from engine.facts import Fact
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
    """Follows a file across rotation and tells what its lines say."""

    def __init__(
        self, path: str, assembler: LineAssembler, *, name: str, source: str, host: str = "", poll_s: float | None = None
    ) -> None:
        """Nothing is opened yet.

        Args:
            path: of the log as it is named while it is written; need not exist yet.
            assembler: recognises its lines.
            name: of the cursor, the task and the `source` fact.
            source: what the facts say told them: kernel, dockerd, kubelet.
            host: name of the host, for the facts.
            poll_s: seconds between two looks at a file in which nothing happens; None for what is usual.
        """
        self._name = name
        self._path = path
        self._poll_s = poll_s
        self._health = Health(name, host)
        self._assembly: Assembly[LinePlace] = Assembly(
            assembler, host=host, source=source, name_of=lambda place: f"log-{name}-{place.label}"
        )
        self._follower = Follower(path, self._health)

    @property
    def name(self) -> str:
        """Name of its cursor, its task and its `source` fact."""
        return self._name

    async def run(self, sink: Sink, cursor: str | None) -> None:
        """Tell facts until cancelled. A file that is missing or unreadable is a `source` fact and is looked for again."""
        teller = Teller(sink, self._health, cursor)
        watch = FileWatch()
        try:
            pauses = backoff()
            with suppress(OSError):  # it will be said by the first look
                self._follower.begin(cursor, utc_now())
            while True:
                try:
                    await self._to_the_end(teller)
                except OSError as error:
                    self._health.lose(utc_now(), advice(self._path, error))
                    await teller.tell([], self._cursor)
                    await asyncio.sleep(next(pauses))
                    continue
                pauses = backoff()
                await self._rest(watch)
        finally:
            self._follower.close()
            watch.close()

    async def _rest(self, watch: FileWatch) -> None:
        """Until the file is written, or it is time for a look."""
        await asyncio.sleep(PAUSE_S)
        file = self._follower.file
        if file is None:
            watch.forget()
        elif watch.watch(file.fd, (file.device, file.inode)):
            return  # what was written before it was watched wakes nobody: read once more
        usual = LOOK_S if watch.works and self._follower.settled else POLL_S
        pace = usual if self._poll_s is None else self._poll_s
        await watch.wait(pace if self._assembly.held is None else min(pace, PENDING_S))

    async def _to_the_end(self, teller: Teller) -> None:
        """Read all there is. Gives way to the rest of the process after every chunk."""
        while True:
            now = utc_now()
            lines = self._follower.read(now)
            if lines is None:
                lines = self._follower.look(now)
            if lines is None:
                await teller.tell(self._assembly.flush(now), self._cursor)
                return
            await teller.tell(self._facts(lines), self._cursor)
            await asyncio.sleep(0)

    def _facts(self, lines: list[Line]) -> list[Fact]:
        facts: list[Fact] = []
        now = utc_now()
        damaged = 0
        for place, raw in lines:
            text, broken = decode(raw)
            damaged += broken
            found = self._assembly.feed(text, now, place)
            if found:
                facts += found
        if damaged:
            self._health.damage(now, f"{self._path}: lines that are not valid UTF-8 or hold NUL bytes", damaged)
        return facts

    def _cursor(self) -> str | None:
        held = self._assembly.held
        place = held.file.place(held.offset) if held is not None else self._follower.place()
        return None if place is None else place.to_cursor()
