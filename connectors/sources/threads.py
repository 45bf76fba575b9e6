"""Calls that may never come back (a statvfs on a dead NFS server), kept away from the event loop.

A daemon thread for each call, not the loop's own pool: that one is joined when the interpreter ends, and a thread that is
stuck in the kernel would keep the process from ever ending.
"""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from engine.errors import SourceError

T = TypeVar("T")


@dataclass(slots=True)
class _Call:
    ended: bool = False
    given_up: bool = False
    """Nobody waits for it any more."""


class Worker:
    """One call at a time. A call that is stuck blocks the ones after it with an error, unless there are spare threads for it."""

    def __init__(self, name: str, *, spares: int = 0) -> None:
        """A worker whose threads carry this name; calls that are stuck are left to `spares` threads more, at most."""
        self._name = name
        self._spares = spares
        self._calls: list[_Call] = []

    @property
    def stuck(self) -> bool:
        """True while a call has not come back, and none can be made beside it."""
        self._calls = [call for call in self._calls if not call.ended]
        return len(self._calls) > self._spares or any(not call.given_up for call in self._calls)

    async def run(self, call: Callable[[], T], *, timeout_s: float) -> T:
        """What `call` returns, or its exception.

        Raises:
            TimeoutError: it did not come back within `timeout_s` seconds; it goes on in its thread, its result is dropped.
            SourceError: the call before has not come back yet.
        """
        if self.stuck:
            raise SourceError(f"{self._name}: the call before has not come back yet")
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[T] = loop.create_future()

        def work() -> None:
            try:
                result = call()
            except BaseException as error:  # noqa: BLE001 - handed on to the caller as it is
                settle(partial(answer.set_exception, error))
            else:
                settle(partial(answer.set_result, result))

        under_way = _Call()

        def settle(outcome: Callable[[], None]) -> None:
            under_way.ended = True

            def if_awaited() -> None:
                if not answer.done():
                    outcome()

            with suppress(RuntimeError):  # the loop has ended meanwhile: nobody waits
                loop.call_soon_threadsafe(if_awaited)

        self._calls.append(under_way)
        threading.Thread(target=work, name=self._name, daemon=True).start()
        try:
            async with asyncio.timeout(timeout_s):
                return await answer
        finally:
            under_way.given_up = True
