"""The journal's thread: one call after the other, in order. A daemon: a call that never returns does not hold the process."""

import asyncio
import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class JournalThread:
    """A `ThreadPoolExecutor(1)`, but for the end: the interpreter waits for the threads of executors, however long they hang."""

    def __init__(self) -> None:
        self._calls: queue.SimpleQueue[tuple[asyncio.Future[Any], Callable[[], Any]] | None] = queue.SimpleQueue()
        threading.Thread(target=self._run, name="journal", daemon=True).start()

    def call(self, function: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> asyncio.Future[T]:
        """Have it called after all that was asked for before. Who stops waiting does not stop the call."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._calls.put((future, partial(function, *arguments, **named)))
        return future

    def end(self) -> None:
        """End once all is done."""
        self._calls.put(None)

    def _run(self) -> None:
        while (asked := self._calls.get()) is not None:
            future, function = asked
            try:
                answer = partial(_answer, future, future.set_result, function())
            except BaseException as error:  # noqa: BLE001  it is the caller's
                answer = partial(_answer, future, future.set_exception, error)
            with suppress(RuntimeError):  # the event loop has ended: nobody waits any more
                future.get_loop().call_soon_threadsafe(answer)


def _answer(future: asyncio.Future[Any], tell: Callable[[Any], None], value: Any) -> None:
    if not future.done():
        tell(value)
