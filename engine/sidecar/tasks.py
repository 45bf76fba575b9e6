"""Named tasks that belong together: the unexpected end of one ends them all, loudly."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import structlog

from engine.errors import DockwardenError

_log = structlog.get_logger(__name__)


class TaskEndedError(DockwardenError):
    """A task that should run for as long as the process does has ended."""


class Tasks:
    """Root tasks of the process. `ended` is set when one of them ends before `stop`."""

    def __init__(self) -> None:
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._stopping = False
        self.ended = asyncio.Event()
        self.error: TaskEndedError | None = None
        """Which one ended first, and why."""

    def start(self, name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Start a task under a name.

        Raises:
            ValueError: a task of this name runs already.
        """
        if name in self._tasks:
            work.close()
            msg = f"a task {name} runs already"
            raise ValueError(msg)
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks[name] = task
        task.add_done_callback(self._done)
        return task

    def _done(self, task: "asyncio.Task[None]") -> None:
        name = task.get_name()
        if self._tasks.get(name) is task:
            del self._tasks[name]
        if self._stopping:
            return
        error = None if task.cancelled() else task.exception()
        _log.critical("task_ended", task=name, error=repr(error), exc_info=error)
        if self.error is None:
            why = "although it should not" if error is None else f"with an error: {str(error) or type(error).__name__}"
            self.error = TaskEndedError(f"task {name} ended {why}")
            self.error.__cause__ = error
        self.ended.set()

    async def stop(self, name: str, deadline_s: float) -> None:
        """End one task; logs when it does not end in time."""
        task = self._tasks.pop(name, None)
        if task is not None:
            task.remove_done_callback(self._done)
            await _end([task], deadline_s)

    async def stop_all(self, deadline_s: float) -> None:
        """End the tasks that are left."""
        self._stopping = True
        await _end(list(self._tasks.values()), deadline_s)
        self._tasks.clear()


async def _end(tasks: list["asyncio.Task[None]"], deadline_s: float) -> None:
    """Cancel, and in the middle of the time once more.

    On CPython 3.11 a cancellation can be swallowed when what is waited for fails at the same moment (asyncio.wait_for, fixed in
    3.12: python/cpython#96764); a task that is merely cleaning up has half of the time for it.
    """
    stuck = set(tasks)
    for _ in range(2):
        if stuck:
            for task in stuck:
                task.cancel()
            _, stuck = await asyncio.wait(stuck, timeout=deadline_s / 2)
    for task in stuck:
        _log.error("task_stuck", task=task.get_name())
    for task in tasks:
        if task.done() and not task.cancelled() and task.exception() is not None:
            _log.error("task_failed_at_stop", task=task.get_name(), error=repr(task.exception()))
