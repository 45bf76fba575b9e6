"""Tasks that run together."""

import asyncio
from contextlib import suppress

import pytest

from connectors.consumers.together import end, run_together


async def _forever(ended: list[str], name: str) -> None:
    try:
        await asyncio.Event().wait()
    finally:
        ended.append(name)


async def test_the_first_error_ends_all_and_is_raised() -> None:
    """The others are cancelled and have cleaned up by then."""
    ended: list[str] = []

    async def fails() -> None:
        await asyncio.sleep(0)
        raise ValueError("x")

    with pytest.raises(ValueError, match="x"):
        await run_together({"a": _forever(ended, "a"), "b": fails()})
    assert ended == ["a"]


async def test_one_that_just_returns_is_an_error_too() -> None:
    """It is named."""

    async def returns() -> None:
        await asyncio.sleep(0)

    with pytest.raises(RuntimeError, match="task b ended"):
        await run_together({"a": _forever([], "a"), "b": returns()})


async def test_a_task_that_swallows_a_cancellation_is_ended_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """As asyncio.wait_for does on CPython 3.11: it is cancelled again, also inside another group."""
    monkeypatch.setattr("connectors.consumers.together._AGAIN_S", 0.01)
    started = asyncio.Event()

    async def swallows() -> None:
        started.set()
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        await asyncio.Event().wait()

    task = asyncio.create_task(run_together({"outer": run_together({"inner": swallows()})}))
    await started.wait()
    await end([task])
    assert task.cancelled()
