"""Tasks that run together: the end of one ends them all. Knows nothing of what they do."""

import asyncio
from collections.abc import Coroutine, Iterable, Mapping
from typing import Any

_AGAIN_S = 1.0
_TRIES = 5


async def run_together(work: Mapping[str, Coroutine[Any, Any, None]]) -> None:
    """Run until one of them ends or the caller is cancelled; then all are ended.

    Args:
        work: by the name of its task.

    Raises:
        Exception: what the first that ended raised; a RuntimeError when it just returned.
    """
    tasks = [asyncio.get_running_loop().create_task(one, name=name) for name, one in work.items()]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        first = next(iter(done))
        error = None if first.cancelled() else first.exception()
        if error is not None:
            raise error
        msg = f"task {first.get_name()} ended although it should not"
        raise RuntimeError(msg)
    finally:
        await end(tasks)


async def end(tasks: Iterable["asyncio.Task[Any]"]) -> None:
    """Cancel, again each second where that is needed, five times at most.

    On CPython 3.11 a cancellation can be swallowed when what is waited for is done at the same moment (asyncio.wait_for,
    fixed in 3.12: python/cpython#96764); aiomqtt waits so.
    """
    left = {task for task in tasks if not task.done()}
    for _ in range(_TRIES):
        for task in left:
            task.cancel()
        if left:
            _, left = await asyncio.wait(left, timeout=_AGAIN_S)
    for task in tasks:
        if task.done() and not task.cancelled():
            task.exception()  # looked at: asyncio complains of errors that nobody fetched
