"""Calls that may never come back (a statvfs on a dead NFS server), kept away from the event loop.

A daemon thread for each call, not the loop's own pool: that one is joined when the interpreter ends, and a thread that is
stuck in the kernel would keep the process from ever ending.
"""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TypeVar

from engine.errors import SourceError

T = TypeVar("T")


class Worker:
    """One call at a time. A call that is stuck blocks the ones after it with an error, and never adds a second thread."""

    def __init__(self, name: str) -> None:
        """A worker whose threads carry this name."""
        self._name = name
        self._under_way = False

    @property
    def stuck(self) -> bool:
        """True while a call has not come back."""
        return self._under_way

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
                tell(partial(answer.set_exception, error))
            else:
                tell(partial(answer.set_result, result))

        def tell(settle: Callable[[], None]) -> None:
            self._under_way = False

            def if_awaited() -> None:
                if not answer.done():
                    settle()

            with suppress(RuntimeError):  # the loop has ended meanwhile: nobody waits
                loop.call_soon_threadsafe(if_awaited)

        self._under_way = True
        threading.Thread(target=work, name=self._name, daemon=True).start()
        async with asyncio.timeout(timeout_s):
            return await answer
