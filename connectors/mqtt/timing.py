"""Waiting with a bound, by a clock that is handed in: with a virtual one, time-outs come in virtual time too. Knows no MQTT."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from engine.ports.clock import Clock

T = TypeVar("T")


async def within(clock: Clock, seconds: float, work: Awaitable[T]) -> T:
    """The result of `work`.

    Raises:
        TimeoutError: it took longer, and was cancelled.
    """
    task = asyncio.ensure_future(work)
    timer = asyncio.ensure_future(clock.sleep(seconds))
    try:
        await asyncio.wait({task, timer}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise TimeoutError
        return task.result()
    finally:
        for unfinished in (task, timer):
            unfinished.cancel()
        await asyncio.wait({task, timer})
        if not task.cancelled():
            task.exception()  # looked at: asyncio complains of errors that nobody fetched


class Alarm:
    """Calls a function at a moment, or shortly before a later one that replaced it: who is called looks at the time itself."""

    def __init__(self, clock: Clock, ring: Callable[[], None]) -> None:
        self._clock = clock
        self._ring = ring
        self._at = float("inf")
        self._task: asyncio.Task[None] | None = None

    def set(self, at: float) -> None:
        """Ring at this moment of the monotonic clock, or earlier. Costs nothing while an earlier one is set."""
        if at >= self._at:
            return
        self.stop()
        self._at = at
        self._task = asyncio.create_task(self._sleep(at), name="mqtt-alarm")

    def stop(self) -> None:
        """Ring no more."""
        if self._task is not None:
            self._task.cancel()
        self._task, self._at = None, float("inf")

    async def _sleep(self, at: float) -> None:
        await self._clock.sleep(max(0.0, at - self._clock.monotonic()))
        self._task, self._at = None, float("inf")
        self._ring()
