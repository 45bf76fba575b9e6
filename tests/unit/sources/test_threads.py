"""Calls that may never come back."""

import asyncio
import threading
from functools import partial

import pytest

from connectors.sources.threads import Worker
from engine.errors import SourceError
from tests.lab.waiting import until


async def test_result_and_error_come_back() -> None:
    """What the call returns or raises is what the caller gets, again and again."""
    worker = Worker("w")
    assert [await worker.run(lambda: 7, timeout_s=5) for _ in range(100)] == [7] * 100
    with pytest.raises(ZeroDivisionError):
        await worker.run(lambda: 1 // 0, timeout_s=5)
    assert await worker.run(threading.current_thread().is_alive, timeout_s=5)


async def test_a_stuck_call_holds_up_nobody() -> None:
    """A call that does not return times out, the next is refused without a second thread, and when it returns all is well."""
    worker, gate = Worker("stuck-one"), threading.Event()
    with pytest.raises(TimeoutError):
        await worker.run(lambda: gate.wait(30), timeout_s=0.05)
    for _ in range(5):
        with pytest.raises(SourceError, match="stuck-one"):
            await worker.run(lambda: 1, timeout_s=1)
    assert [thread.name for thread in threading.enumerate()].count("stuck-one") == 1
    gate.set()
    await until(lambda: not worker.stuck, what="the stuck call to return")
    assert await worker.run(lambda: 2, timeout_s=5) == 2


async def test_a_stuck_call_is_replaced_a_bounded_number_of_times() -> None:
    """A worker with spare threads goes on beside calls that are stuck; when all are, it refuses until they return."""
    worker, gate = Worker("spared", spares=2), threading.Event()
    for stuck in range(2):
        with pytest.raises(TimeoutError):
            await worker.run(lambda: gate.wait(30), timeout_s=0.02)
        assert await worker.run(partial(int, stuck), timeout_s=5) == stuck
    with pytest.raises(TimeoutError):
        await worker.run(lambda: gate.wait(30), timeout_s=0.02)
    with pytest.raises(SourceError, match="spared"):
        await worker.run(lambda: 1, timeout_s=1)
    assert [thread.name for thread in threading.enumerate()].count("spared") == 3
    gate.set()
    await until(lambda: not worker.stuck, what="the stuck calls to return")
    assert await worker.run(lambda: 2, timeout_s=5) == 2


async def test_runs_in_a_daemon_thread() -> None:
    """The thread does not keep the process from ending."""
    assert await Worker("w").run(lambda: threading.current_thread().daemon, timeout_s=5)


async def test_cancellation_goes_on() -> None:
    """Cancelling the caller cancels it, not the call."""
    worker, gate = Worker("w"), threading.Event()
    task = asyncio.create_task(worker.run(lambda: gate.wait(30), timeout_s=30))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    gate.set()
