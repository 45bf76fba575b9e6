"""Clocks for tests: the machine's own, one that stands still until it is moved, and one that jumps over what is waited for."""

import asyncio
import selectors
from collections.abc import Coroutine
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from engine.facts.timestamps import SECOND, Micros, to_micros
from engine.ports.clock import SystemClock

T = TypeVar("T")

SYSTEM = SystemClock()
"""For tests with real servers."""


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop in virtual time: where it would wait for a timer, its clock moves on instead. For code without threads."""

    def __init__(self) -> None:
        self._moved = 0.0
        selector = selectors.DefaultSelector()
        self._look = selector.select
        selector.select = self._select  # type: ignore[method-assign]
        super().__init__(selector)

    def time(self) -> float:
        """Seconds, by timers that came due alone."""
        return self._moved

    def _select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        found = self._look(0)
        if not found and timeout is None:
            raise RuntimeError("everything waits, and no timer will end it")
        if not found and timeout is not None:
            self._moved += timeout
        return found


class VirtualClock:
    """The time of a `VirtualLoop`."""

    def wall(self) -> Micros:
        """See the port."""
        return 1_763_657_512_525_487 + round(self.monotonic() * SECOND)

    def monotonic(self) -> float:
        """See the port."""
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        """See the port."""
        await asyncio.sleep(seconds)


def run_virtually(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end in virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(work)


@dataclass
class FixedClock:
    """Stands still. `sleep` moves it on, and so does the test, by its fields."""

    at: Micros = 1_763_657_512_525_487
    seconds: float = 100.0
    """The monotonic clock."""

    @classmethod
    def of(cls, at: datetime) -> "FixedClock":
        """One that stands at this time."""
        return cls(to_micros(at))

    def wall(self) -> Micros:
        """See the port."""
        return self.at

    def monotonic(self) -> float:
        """See the port."""
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        """Moves on at once, and gives way."""
        self.advance(seconds)
        await asyncio.sleep(0)

    def advance(self, seconds: float) -> None:
        """Let time pass on both clocks."""
        self.at += round(seconds * SECOND)
        self.seconds += seconds
