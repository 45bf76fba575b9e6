"""What tests of log sources are made of: an assembler that knows three words, and a sink that remembers."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime

from engine.facts import Fact, Retraction
from engine.facts.host import Source
from engine.facts.logs import KernelEvent
from engine.ports.sources import FactSource

PATIENCE_S = 10.0
"""No wait of these tests takes longer; those that are met take milliseconds."""


class Words:
    """Stands in for the assembler: `BOOM` is a fact, `BEGIN` opens a report, `END` closes it; other lines say nothing."""

    def __init__(self) -> None:
        self._report: list[str] = []
        self._since: datetime | None = None
        self.lines = 0

    @property
    def pending_since(self) -> datetime | None:
        """Time of the line that opened the report."""
        return self._since

    def pick(self, lines: Sequence[bytes]) -> Sequence[int]:
        """All of them."""
        return range(len(lines))

    def feed(self, line: str, received_at: datetime) -> list[Fact]:
        """One line."""
        self.lines += 1
        if "BEGIN" in line:
            self._report, self._since = [line], received_at
        elif "END" in line and self._report:
            self._report.append(line)
            return self.flush(received_at)
        elif "BOOM" in line:
            return [_fact(line, received_at)]
        return []

    def flush(self, now: datetime) -> list[Fact]:
        """The report so far."""
        report, self._report, self._since = self._report, [], None
        return [_fact(" ".join(report), now)] if report else []


def _fact(text: str, at: datetime) -> Fact:
    return KernelEvent.model_validate({"class": "file_max", "at": at, "text": text[:4096]})


class Remembering:
    """A sink that keeps what it is given, and the last cursor, as the journal does. `hold` keeps the source waiting."""

    def __init__(self) -> None:
        self.facts: list[Fact] = []
        self.cursor: str | None = None
        self.puts = 0
        self._changed = asyncio.Condition()
        self._open = asyncio.Event()
        self._open.set()

    async def put(self, facts: list[Fact | Retraction], *, cursor: str | None = None) -> None:
        """Take them, as soon as the sink is open."""
        await self._open.wait()
        async with self._changed:
            self.puts += 1
            self.facts += [fact for fact in facts if isinstance(fact, Fact)]
            self.cursor = cursor or self.cursor
            self._changed.notify_all()

    def hold(self) -> None:
        """From now on `put` waits."""
        self._open.clear()

    def release(self) -> None:
        """Take facts again."""
        self._open.set()

    @property
    def events(self) -> list[KernelEvent]:
        """What lines became."""
        return [fact for fact in self.facts if isinstance(fact, KernelEvent)]

    @property
    def texts(self) -> list[str]:
        """The texts of those."""
        return [fact.text for fact in self.events]

    @property
    def sources(self) -> list[Source]:
        """What the source said of itself."""
        return [fact for fact in self.facts if isinstance(fact, Source)]

    async def until(self, what: Callable[["Remembering"], bool]) -> None:
        """Wait until `what` holds; a time-out shows what there was instead."""
        async with self._changed:
            try:
                async with asyncio.timeout(PATIENCE_S):
                    await self._changed.wait_for(lambda: what(self))
            except TimeoutError:
                raise AssertionError(f"in vain: {len(self.events)} events {self.texts[-3:]}, {self.sources[-3:]}") from None

    async def until_events(self, count: int) -> None:
        """Wait for so many events."""
        await self.until(lambda sink: len(sink.events) >= count)

    async def until_status(self, status: str) -> Source:
        """Wait until the source is known to be in this state."""
        await self.until(lambda sink: bool(sink.sources) and sink.sources[-1].status == status)
        return self.sources[-1]


@asynccontextmanager
async def running(source: FactSource, sink: Remembering, cursor: str | None = None) -> AsyncIterator[None]:
    """The source runs as long as the block, and then ends within its time, leaving no task behind."""
    before = asyncio.all_tasks()
    task = asyncio.create_task(source.run(sink, cursor), name=source.name)
    try:
        yield
        if task.done():
            task.result()
    finally:
        task.cancel()
        done, _ = await asyncio.wait([task], timeout=PATIENCE_S)
        assert done, "the source does not end"
        left = asyncio.all_tasks() - before - {task}
        assert not left, f"tasks left behind: {left}"
