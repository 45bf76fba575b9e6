"""A call to the engine that may hang, watched. Knows nothing of what the call asks.

A call that does not answer is waited for further and not sent again: on an engine that hangs, each list that is sent anew adds
one more that waits under the same lock. And when the engine goes on, the waiting call is the first to know.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from engine.errors import EngineError

T = TypeVar("T")


class Probe(Generic[T]):
    """One kind of call, of which at most one is under way."""

    def __init__(self, name: str, call: Callable[[], Awaitable[T]], *, clock: Callable[[], float] = time.monotonic) -> None:
        """Nothing is called yet.

        Args:
            name: of the task.
            call: makes the call; bounded in time by itself, though generously. Raises EngineError and nothing else.
            clock: seconds on a clock that does not go back.
        """
        self.name = name
        self._call = call
        self._clock = clock
        self._task: asyncio.Task[None] | None = None
        self._began = 0.0
        self.value: T | None = None
        """What the last call that was answered gave."""
        self.error: EngineError | None = None
        """What the last call that ended raised; None when it was answered."""
        self.took_ms: float | None = None
        """Milliseconds that the last call that was answered took."""

    @property
    def task(self) -> "asyncio.Task[None] | None":
        """The call under way, to wait for; None when there is none."""
        return self._task if self._task is not None and not self._task.done() else None

    @property
    def waited_s(self) -> float:
        """Seconds the call under way has taken so far; 0 when there is none."""
        return self._clock() - self._began if self.task else 0.0

    def start(self) -> "asyncio.Task[None]":
        """Call, unless a call is under way already; the task to wait for."""
        if self.task is None:
            self._began = self._clock()
            self._task = asyncio.create_task(self._run(), name=f"probe-{self.name}")
        assert self._task is not None  # noqa: S101 - it was made above; for the type checker
        return self._task

    async def _run(self) -> None:
        try:
            self.value = await self._call()
        except EngineError as error:
            self.error = error
        else:
            self.error = None
            self.took_ms = round((self._clock() - self._began) * 1000, 3)

    async def stop(self) -> None:
        """Give up the call under way."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
