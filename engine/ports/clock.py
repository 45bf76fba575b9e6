"""Time as a parameter: who needs it is handed a `Clock`. The process hands in the system's, tests a virtual one."""

import asyncio
import time
from datetime import datetime
from typing import Protocol

from engine.facts.timestamps import Micros, from_micros


class Clock(Protocol):
    """Wall clock, monotonic clock and sleep, which belong together: a virtual clock moves all three."""

    def wall(self) -> Micros:
        """Now, in microseconds since 1970 UTC."""

    def monotonic(self) -> float:
        """Seconds of a clock that never goes back; only differences mean something."""

    async def sleep(self, seconds: float) -> None:
        """Wait."""


def event_time(clock: Clock) -> datetime:
    """The `at` of what is seen now."""
    return from_micros(clock.wall())


class SystemClock:
    """The machine's own: the only place where time is read."""

    def wall(self) -> Micros:
        """See the port."""
        return time.time_ns() // 1000

    def monotonic(self) -> float:
        """See the port."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """See the port."""
        await asyncio.sleep(seconds)
