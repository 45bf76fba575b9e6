"""The one queue into the engine: facts from sources, ends of attempts, commands, nudges. Bounded: who puts waits."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from engine.facts import Fact, Retraction

if TYPE_CHECKING:
    from engine.pipeline.jobs import Job
    from engine.ports.actions import Outcome

QUEUE_LENGTH = 2_000
"""Entries (each a batch of facts of one source); a storm of thousands of events passes in tens of them."""


@dataclass(frozen=True, slots=True)
class FromSource:
    """What a source saw."""

    source: str
    facts: list[Fact | Retraction]
    cursor: str | None = None


@dataclass(frozen=True, slots=True)
class AttemptEnded:
    """What came of one attempt of a job."""

    job: "Job"
    outcome: "Outcome"
    duration_ms: float
    at_s: float


@dataclass(frozen=True, slots=True)
class Ask:
    """Something to run between two batches, in the engine's own task: a command, a reload, a question."""

    run: Callable[[], Awaitable[None]] = field(compare=False)


Entry = FromSource | AttemptEnded | Ask


class Intake:
    """Takes entries in; gives them out in batches."""

    def __init__(self, length: int = QUEUE_LENGTH) -> None:
        self._queue: asyncio.Queue[Entry] = asyncio.Queue(length)

    async def put(self, entry: Entry) -> None:
        """Hand an entry over; waits while the engine is behind."""
        await self._queue.put(entry)

    def sink(self, source: str) -> "SourceSink":
        """Where one source puts what it sees."""
        return SourceSink(source, self)

    async def batch(self, most: int, timeout_s: float | None) -> list[Entry]:
        """What is there, at most so many entries; waits for the first one, no longer than the time-out."""
        entries: list[Entry] = []
        try:
            async with asyncio.timeout(timeout_s):
                entries.append(await self._queue.get())
        except TimeoutError:
            return entries
        while len(entries) < most and not self._queue.empty():
            entries.append(self._queue.get_nowait())
        return entries

    @property
    def depth(self) -> int:
        """Entries that wait."""
        return self._queue.qsize()


class SourceSink:
    """A source's way in (`engine.ports.sources.Sink`)."""

    def __init__(self, source: str, intake: Intake) -> None:
        self._source = source
        self._intake = intake

    async def put(self, facts: list[Fact | Retraction], *, cursor: str | None = None) -> None:
        """Hand over facts in order."""
        if facts or cursor is not None:
            await self._intake.put(FromSource(self._source, facts, cursor))
