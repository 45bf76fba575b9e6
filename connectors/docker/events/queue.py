"""Queues lines of the event stream between the reader and the worker, within bounds. Knows no Docker."""

import asyncio
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

LINE_BYTES = 4 * 1024 * 1024
"""A longer line is skipped. dockerd refuses a create request above 4 MiB in most versions, so labels cannot be larger."""

QUEUE_LINES = 20_000
"""3.5 s of the fastest stream that was measured (5,600 exec events a second)."""

QUEUE_BYTES = 64 * 1024 * 1024
"""A queue of long lines must not take the memory of the host: an ordinary event has 300 to 600 bytes."""


@dataclass(frozen=True, slots=True)
class Connected:
    """The stream is open; lines of this connection follow."""


@dataclass(frozen=True, slots=True)
class Disconnected:
    """The stream ended; `error` says why."""

    error: str


Item = bytes | Connected | Disconnected


class LineQueue:
    """Lines and changes of the connection, in order. Never makes the reader wait: what does not fit is dropped and counted.

    A reader that waits would make Docker wait: with one stalled subscriber, everything that dockerd does slows down.
    """

    def __init__(self, lines: int = QUEUE_LINES, size: int = QUEUE_BYTES) -> None:
        self._items: deque[Item] = deque()
        self._lines, self._limit = lines, size
        self._bytes = 0
        self._wake = asyncio.Event()
        self.dropped = 0
        """Lines dropped so far."""

    def __len__(self) -> int:
        return len(self._items)

    def put(self, item: Item) -> None:
        """Add at the end; a line that does not fit is dropped and counted (connection changes are few and always fit)."""
        if isinstance(item, bytes):
            if len(self._items) >= self._lines or self._bytes + len(item) > self._limit:
                self.dropped += 1
                self._wake.set()
                return
            self._bytes += len(item)
        self._items.append(item)
        self._wake.set()

    def extend(self, lines: Iterable[bytes]) -> None:
        """Add lines at the end, as `put` does."""
        for line in lines:
            self.put(line)

    def wake(self) -> None:
        """Have `take` return, with nothing if there is nothing."""
        self._wake.set()

    async def take(self, at_most: int, timeout_s: float) -> list[Item]:
        """What is there, in order; waits for something up to `timeout_s` seconds, then returns an empty list."""
        if not self._items:
            self._wake.clear()
            try:
                async with asyncio.timeout(timeout_s):
                    await self._wake.wait()
            except TimeoutError:
                return []
        taken: list[Item] = []
        while self._items and len(taken) < at_most:
            item = self._items.popleft()
            if isinstance(item, bytes):
                self._bytes -= len(item)
            taken.append(item)
        return taken
