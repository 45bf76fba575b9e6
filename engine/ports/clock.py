"""Time as a parameter: who needs it is handed a `Clock`. The process hands in the system's, tests a virtual one."""

from typing import Protocol

from engine.facts.timestamps import Micros


class Clock(Protocol):
    """Wall clock, monotonic clock and sleep, which belong together: a virtual clock moves all three."""

    def wall(self) -> Micros:
        """Now, in microseconds since 1970 UTC."""

    def monotonic(self) -> float:
        """Seconds of a clock that never goes back; only differences mean something."""

    async def sleep(self, seconds: float) -> None:
        """Wait."""
