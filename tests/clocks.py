"""Clocks for tests: the machine's own, and one that stands still until it is moved."""

import asyncio
from dataclasses import dataclass
from datetime import datetime

from engine.facts.timestamps import SECOND, Micros, to_micros
from engine.ports.clock import SystemClock

SYSTEM = SystemClock()
"""For tests with real servers."""


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
