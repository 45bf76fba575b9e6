"""Root tasks: the unexpected end of one is everybody's, loudly and by name."""

import asyncio

import pytest

from engine.sidecar.tasks import TaskEndedError, Tasks


async def forever() -> None:
    """A task as it should be."""
    await asyncio.Event().wait()


async def ended(tasks: Tasks) -> str:
    """What is said of the task that ended."""
    await asyncio.wait_for(tasks.ended.wait(), 1.0)
    assert isinstance(tasks.error, TaskEndedError)
    return str(tasks.error)


async def test_a_task_that_fails_is_named_with_its_error() -> None:
    """What `run` prints last says which part it was, not only what happened in it."""
    tasks = Tasks()

    async def fail() -> None:
        raise KeyError("oops")

    tasks.start("source:kernel", fail())
    assert await ended(tasks) == "task source:kernel ended with an error: 'oops'"
    assert tasks.error is not None
    assert isinstance(tasks.error.__cause__, KeyError)


async def test_a_task_that_just_returns_is_an_error_too() -> None:
    """A source that silently stops is how watchers die."""
    tasks = Tasks()

    async def nothing() -> None:
        return

    tasks.start("source:kernel", nothing())
    assert await ended(tasks) == "task source:kernel ended although it should not"


async def test_a_task_that_somebody_cancelled_is_an_error_too() -> None:
    """Only `stop` ends a task in order."""
    tasks = Tasks()
    task = tasks.start("engine", forever())
    await asyncio.sleep(0)
    task.cancel()
    assert "engine" in await ended(tasks)


async def test_the_first_error_is_the_one_that_counts() -> None:
    """What fails in its wake does not hide it."""
    tasks = Tasks()

    async def fail(text: str) -> None:
        raise ValueError(text)

    tasks.start("a", fail("first"))
    tasks.start("b", fail("second"))
    assert "first" in await ended(tasks)


async def test_stopping_is_no_error() -> None:
    """One by one, or all that are left."""
    tasks = Tasks()
    one, two = tasks.start("one", forever()), tasks.start("two", forever())
    await asyncio.sleep(0)
    await tasks.stop("one", 1.0)
    await tasks.stop("unknown", 1.0)
    await tasks.stop_all(1.0)
    assert one.cancelled()
    assert two.cancelled()
    assert not tasks.ended.is_set()


async def test_a_task_that_does_not_end_is_not_waited_for_beyond_the_deadline() -> None:
    """A stop is bounded, whatever a task does with its cancellation."""
    tasks = Tasks()
    released = asyncio.Event()

    async def stubborn() -> None:
        while not released.is_set():
            try:
                await released.wait()
            except asyncio.CancelledError:
                continue

    task = tasks.start("stubborn", stubborn())
    await asyncio.sleep(0)
    async with asyncio.timeout(5.0):
        await tasks.stop_all(0.02)
    assert not task.done()
    released.set()
    await asyncio.wait_for(task, 1.0)


async def test_two_tasks_of_one_name_are_refused() -> None:
    """The second would make the first one nobody's."""
    tasks = Tasks()
    tasks.start("engine", forever())
    with pytest.raises(ValueError, match="engine"):
        tasks.start("engine", forever())
    await tasks.stop_all(1.0)
