"""Waits for a condition, never for a time. Knows nothing of Docker."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, overload

T = TypeVar("T")

PAUSE_S = 0.02
"""Between two looks: far below anything that is measured here, and cheap."""


@overload
async def until(look: Callable[[], Awaitable[T | None]], *, what: str, within_s: float = ..., pause_s: float = ...) -> T: ...


@overload
async def until(look: Callable[[], T | None], *, what: str, within_s: float = ..., pause_s: float = ...) -> T: ...


async def until(look: Callable[[], Any], *, what: str, within_s: float = 30.0, pause_s: float = PAUSE_S) -> Any:
    """Look again and again until something true is seen, and hand it back.

    Args:
        look: returns (or awaits) something that is false until what is waited for has come.
        what: named in the error, as in "waited 10 s for {what}".
        within_s: seconds to wait at most.
        pause_s: seconds between two looks.

    Raises:
        TimeoutError: it did not come in time.
    """
    deadline = time.monotonic() + within_s
    while True:
        seen = look()
        value = await seen if inspect.isawaitable(seen) else seen
        if value:
            return value
        if time.monotonic() >= deadline:
            msg = f"waited {within_s:g} s for {what}"
            raise TimeoutError(msg)
        await asyncio.sleep(pause_s)
