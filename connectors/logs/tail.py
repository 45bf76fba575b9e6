"""A log file as a source of facts. The file system is `follower`'s business; this module sets the pace and hands facts over."""

import asyncio

from connectors.logs.assembly import Assembly, LineAssembler
from connectors.logs.backoff import backoff
from connectors.logs.follower import Follower, Line, LinePlace, advice
from connectors.logs.health import Health
from connectors.logs.lines import decode
from connectors.logs.telling import Teller, utc_now
from engine.facts import Fact
from engine.ports.sources import Sink

POLL_S = 0.25
"""Seconds between two looks at a file that does not grow. A look is four system calls; polling needs no thread and no inotify
descriptor, works on every file system and through symbolic links that are swapped, and costs less than 0.02 % of a core.
It delays a line by an eighth of a second on average."""


class FileTail:
    """Follows a file across rotation and tells what its lines say."""

    def __init__(
        self, path: str, assembler: LineAssembler, *, name: str, source: str, host: str = "", poll_s: float = POLL_S
    ) -> None:
        """Nothing is opened yet.

        Args:
            path: of the log as it is named while it is written; need not exist yet.
            assembler: recognises its lines.
            name: of the cursor, the task and the `source` fact.
            source: what the facts say told them: kernel, dockerd, kubelet.
            host: name of the host, for the facts.
            poll_s: seconds between two looks at a file that does not grow.
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
        try:
            self._follower.begin(cursor, utc_now())
            pauses = backoff()
            while True:
                try:
                    await self._to_the_end(teller)
                except OSError as error:
                    self._health.lose(utc_now(), advice(self._path, error))
                    await teller.tell([], self._cursor)
                    await asyncio.sleep(next(pauses))
                    continue
                pauses = backoff()
                await asyncio.sleep(self._poll_s)
        finally:
            self._follower.close()

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
