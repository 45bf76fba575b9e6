"""Runs attempts of actions, each in a task of its own. What comes of one goes into the intake, and nowhere else."""

import asyncio
from collections.abc import Iterable, Mapping

import structlog

from engine.action_catalog import ACTIONS
from engine.guardrails import Policy, may_touch_running
from engine.pipeline.intake import AttemptEnded, Intake
from engine.pipeline.jobs import Job
from engine.ports.actions import Action, Outcome
from engine.ports.clock import Clock

_log = structlog.get_logger(__name__)


class Attempts:
    """Attempts under way."""

    def __init__(self, *, actions: Mapping[str, Action], policy: Policy, intake: Intake, clock: Clock) -> None:
        self._actions = actions
        self._policy = policy
        self._intake = intake
        self._clock = clock
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, jobs: Iterable[Job]) -> None:
        """Begin an attempt of each job."""
        for job in jobs:
            task = asyncio.get_running_loop().create_task(self._attempt(job), name=f"action:{job.action}:{job.target[:32]}")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def drain(self, deadline_s: float) -> None:
        """Wait for those under way, no longer than so many seconds."""
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=deadline_s)

    async def cancel(self, deadline_s: float) -> None:
        """Give up those that are still under way."""
        stuck = set(self._tasks)
        for task in stuck:
            task.cancel()
        if stuck:
            _, stuck = await asyncio.wait(stuck, timeout=deadline_s)
        for task in stuck:
            _log.error("task_stuck", task=task.get_name())

    async def _attempt(self, job: Job) -> None:
        began = self._clock.monotonic()
        outcome = await self._outcome(job)
        ended = self._clock.monotonic()
        await self._intake.put(AttemptEnded(job, outcome, (ended - began) * 1000, ended))

    async def _outcome(self, job: Job) -> Outcome:
        action = self._actions.get(job.action)
        if action is None:
            return Outcome(ok=False, error=f"{job.action} is not available on this host", error_kind="failed", permanent=True)
        limit = self._policy.limits(job.action).timeout_s
        running = may_touch_running(ACTIONS[job.action], job.rule, self._policy)
        try:
            async with asyncio.timeout(limit):
                return await action.run(job.params, touch_running=running)
        except TimeoutError:
            return Outcome(ok=False, error=f"no answer within {limit:g} s", error_kind="timeout")
        except Exception as error:  # noqa: BLE001  an action promises not to raise; if one does, the other repairs go on
            _log.exception("action_raised", action=job.action, target=job.target)
            return Outcome(ok=False, error=f"{type(error).__name__}: {error}", error_kind="failed")
