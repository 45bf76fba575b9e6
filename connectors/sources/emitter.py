"""Hands facts, the state of the source and the cursor to the sink, together. Knows nothing of where they come from."""

from collections.abc import Callable, Sequence

from connectors.sources.status import SourceStatus
from engine.facts import Fact, Retraction
from engine.ports.clock import Clock, event_time
from engine.ports.sources import Sink

CURSOR_PACE_S = 5.0
"""Seconds between two movements of the cursor when no line was a fact. Each costs the journal a transaction; after a restart at
most so many seconds of lines are read again, and facts that come of them carry the ids they had."""

BATCH_FACTS = 256
"""Facts handed over at once, at most."""


class FactEmitter:
    """One source's way to the sink. `put` waits while the loop is behind, and so the source reads no further."""

    def __init__(self, sink: Sink, status: SourceStatus, cursor: str | None, *, clock: Clock) -> None:
        self._sink = sink
        self._status = status
        self._cursor = cursor
        self._clock = clock
        self._moved_at = clock.monotonic()

    async def emit(self, facts: Sequence[Fact | Retraction], cursor: Callable[[], str | None]) -> None:
        """Hand over `facts`, the `source` fact where one is due, and the cursor when it is time for it.

        Args:
            facts: in the order of their lines.
            cursor: makes the cursor that stands behind all of `facts`; called only when it is needed.
        """
        notice = self._status.due(event_time(self._clock))
        items: list[Fact | Retraction] = [*facts] if notice is None else [*facts, notice]
        now = self._clock.monotonic()
        if not items and now - self._moved_at < CURSOR_PACE_S:
            return
        self._moved_at = now
        moved = cursor()
        if not items and moved != self._cursor:
            await self._sink.put([], cursor=moved)
        for first in range(0, len(items), BATCH_FACTS):
            batch = items[first : first + BATCH_FACTS]
            last = first + len(batch) == len(items)
            # The cursor goes with the last batch only: a crash in between reads all of them again.
            await self._sink.put(batch, cursor=moved if last else None)
        self._cursor = moved
