"""Hands facts, the state of the source and the cursor to the sink, together. Knows nothing of where they come from."""

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from connectors.logs.health import Health
from engine.facts import Fact, Retraction
from engine.ports.sources import Sink

CURSOR_PACE_S = 5.0
"""Seconds between two movements of the cursor when no line was a fact. Each costs the journal a transaction; after a restart at
most so many seconds of lines are read again, and facts that come of them carry the ids they had."""

BATCH_FACTS = 256
"""Facts handed over at once, at most."""


def utc_now() -> datetime:
    """The wall clock."""
    return datetime.now(UTC)


class Teller:
    """One source's way to the sink. `put` waits while the engine is behind, and so the source reads no further."""

    def __init__(self, sink: Sink, health: Health, cursor: str | None) -> None:
        self._sink = sink
        self._health = health
        self._cursor = cursor
        self._moved_at = time.monotonic()

    async def tell(self, facts: Sequence[Fact], cursor: Callable[[], str | None]) -> None:
        """Hand over `facts`, the `source` fact where one is due, and the cursor when it is time for it.

        Args:
            facts: in the order of their lines.
            cursor: makes the cursor that stands behind all of `facts`; called only when it is needed.
        """
        notice = self._health.due(utc_now())
        if not facts and notice is None:
            now = time.monotonic()
            if now - self._moved_at < CURSOR_PACE_S:
                return
            self._moved_at = now
            moved = cursor()
            if moved != self._cursor:
                await self._sink.put([], cursor=moved)
                self._cursor = moved
            return
        items: list[Fact | Retraction] = [*facts] if notice is None else [*facts, notice]
        moved = cursor()
        for first in range(0, len(items), BATCH_FACTS):
            batch = items[first : first + BATCH_FACTS]
            last = first + len(batch) == len(items)
            # The cursor goes with the last batch only: a crash in between reads all of them again.
            await self._sink.put(batch, cursor=moved if last else None)
        self._cursor = moved
        self._moved_at = time.monotonic()
