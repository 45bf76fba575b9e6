"""A log in memory, for tests and rehearsals: passes the contract suite that the real sources pass."""

import asyncio
from contextlib import suppress

from connectors.logs.assembly import Assembly, LineAssembler
from connectors.sources.emitter import FactEmitter
from connectors.sources.lines import LINE_BYTES
from connectors.sources.status import SourceStatus
from connectors.sources.text import decode
from engine.facts import Fact
from engine.ports.clock import Clock, event_time
from engine.ports.sources import Sink

TICK_S = 0.1
"""Seconds of silence after which the end of a report is looked for."""


class LogInMemory:
    """What is written stays and can be read again, by this source or by the next one: as a log outlives its reader."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.first = 0
        """Lines before this one are gone."""
        self.broken: str | None = None
        """Why it cannot be read for now; None when it can."""
        self.changed = asyncio.Event()

    def write(self, *lines: bytes) -> None:
        """Add lines."""
        self.lines += lines
        self.changed.set()

    def forget(self) -> None:
        """Lose everything that was written so far, as a ring that is overwritten does."""
        self.first = len(self.lines)
        self.changed.set()

    def set_broken(self, why: str | None) -> None:
        """Let it be unreadable, or readable again."""
        self.broken = why
        self.changed.set()


class FakeLogSource:
    """Emits what a `LogInMemory` holds. Its cursor is the number of lines that need not be read again."""

    def __init__(self, log: LogInMemory, assembler: LineAssembler, *, name: str, source: str, clock: Clock) -> None:
        self.name = name
        self._log = log
        self._clock = clock
        self._status = SourceStatus(name)
        self._assembly: Assembly[int] = Assembly(assembler, source=source, name_of=lambda number: f"fake-{name}-{number}")
        self._next = 0

    async def run(self, sink: Sink, cursor: str | None) -> None:
        """Emit facts until cancelled."""
        self._next = int(cursor) if cursor is not None and cursor.isdecimal() else len(self._log.lines)
        emitter = FactEmitter(sink, self._status, cursor, clock=self._clock)
        while True:
            self._log.changed.clear()
            now = event_time(self._clock)
            facts: list[Fact] = []
            if self._log.broken is not None:
                self._status.lose(now, self._log.broken)
            else:
                self._status.ok(now)
                facts = self._read()
            await emitter.emit(facts + self._assembly.flush(now), self._cursor)
            with suppress(TimeoutError):
                async with asyncio.timeout(TICK_S):
                    await self._log.changed.wait()

    def _read(self) -> list[Fact]:
        now = event_time(self._clock)
        if self._next < self._log.first:
            lost = self._log.first - self._next
            self._status.gap(now, f"{lost} lines are gone", lost)
            self._next = self._log.first
        facts: list[Fact] = []
        for raw in self._log.lines[self._next :]:
            text, damaged = decode(raw[:LINE_BYTES])
            if damaged or len(raw) > LINE_BYTES:
                self._status.damage(now, "a line that cannot be read whole")
            facts += self._assembly.feed(text, now, self._next)
            self._next += 1
        return facts

    def _cursor(self) -> str | None:
        held = self._assembly.held
        return str(self._next if held is None else held)
