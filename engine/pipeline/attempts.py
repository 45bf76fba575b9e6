"""Runs jobs when they are due: rates, caps, breakers, bounded concurrency. What comes of an attempt goes to the intake.

Knows neither core nor journal: whether a job is still wanted and allowed is asked just before each attempt.
"""

import asyncio
import heapq
import itertools
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Mapping

import structlog

from engine.facts.timestamps import SECOND, Micros
from engine.guardrails import Policy, Verdict
from engine.pipeline.intake import AttemptEnded, Intake
from engine.pipeline.jobs import Job
from engine.pipeline.limits import Breaker, HourlyCap, Pace
from engine.ports.actions import Action, Outcome

_log = structlog.get_logger(__name__)

ALL_AT_ONCE = 8
"""Attempts under way at the same time, of all actions: each may hold a connection and a thread."""

PARKED_S = 1.0
"""A job that has to wait for something without a known end (frozen, no journal) is looked at again after so long."""


class Executor:
    """Schedules jobs and starts attempts."""

    def __init__(
        self,
        *,
        actions: Mapping[str, Action],
        policy: Policy,
        intake: Intake,
        judge: Callable[[Job], Verdict | None],
        now: Callable[[], Micros],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Make one.

        Args:
            actions: what can be done, by name.
            policy: limits.
            intake: where ends of attempts go.
            judge: the verdict on a job at this moment; None when nobody wants it any more.
            now: the wall clock, microseconds.
            clock: seconds of a clock that never goes back; rates, caps and breakers go by it.
        """
        self._actions = actions
        self._policy = policy
        self._intake = intake
        self._judge = judge
        self._now = now
        self._clock = clock
        self.jobs: dict[str, Job] = {}
        self._by_place: dict[tuple[str, str], Job] = {}
        self._heap: list[tuple[Micros, int, str]] = []
        self._numbers = itertools.count()
        self._running: dict[str, asyncio.Task[None]] = {}
        self._running_by_action: Counter[str] = Counter()
        self._busy: set[str] = set()
        """Jobs with an attempt under way, or with one whose end the engine has not taken in yet."""
        self._again: set[str] = set()
        self._waiting: dict[str, OrderedDict[str, None]] = {}
        """Jobs by action that are due and wait for another attempt to end; looked at only then, be they thousands."""
        self._closing = False
        self._paces: dict[tuple[str, str], Pace] = {}
        self._turns: dict[str, float] = {}
        self._caps: dict[str, HourlyCap] = {}
        self._breakers: dict[str, Breaker] = {}
        self._wake = asyncio.Event()
        self.dropped: Callable[[Job, str], None] = lambda _job, _reason: None
        """Called when a job goes without an attempt: nobody wants it any more, or a guardrail refuses it now."""

    # -- jobs come and go ---------------------------------------------------------------------------------------------

    def at_place(self, job: Job) -> Job | None:
        """The job that is at this action and target already, None for none."""
        return self._by_place.get(job.place)

    def expect(self, job: Job) -> None:
        """A job will be added as soon as it is kept: it has its place already, so that a second reason joins it."""
        self._by_place[job.place] = job

    def add(self, job: Job) -> None:
        """Take a job on; it is run when it is due."""
        self.jobs[job.id] = job
        self._by_place[job.place] = job
        self._schedule(job)

    def forget(self, job: Job) -> None:
        """The job is over."""
        self.jobs.pop(job.id, None)
        self._turns.pop(job.id, None)
        self._busy.discard(job.id)
        self._again.discard(job.id)
        if self._by_place.get(job.place) is job:
            del self._by_place[job.place]

    def reschedule(self, job: Job) -> None:
        """The end of its attempt was taken in; its next attempt is due at another time."""
        self._busy.discard(job.id)
        if job.id in self._again:
            self._again.discard(job.id)
            job.due = self._now()
        self._schedule(job)

    def hurry(self, container: str, *, but_not: str) -> list[Job]:
        """Let the waiting jobs that concern a container be due now; the ones concerned."""
        hurried = [job for job in self.jobs.values() if job.container == container and job.action != but_not]
        for job in hurried:
            if job.id in self._busy:
                self._again.add(job.id)  # it is being tried: should that fail, it is tried again at once
            else:
                job.due = self._now()
                self._schedule(job)
        return hurried

    def running(self, job: Job) -> bool:
        """Whether an attempt is under way, or has ended a moment ago and its end is on its way to the engine."""
        return job.id in self._busy

    def breakers_open(self) -> list[str]:
        """Actions that are stopped because they kept failing."""
        return sorted(name for name, breaker in self._breakers.items() if breaker.is_open)

    def _schedule(self, job: Job) -> None:
        heapq.heappush(self._heap, (job.due, next(self._numbers), job.id))
        self._wake.set()

    # -- attempts -----------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Start attempts as they become due, until cancelled; attempts under way are then cancelled too."""
        try:
            while True:
                self._wake.clear()
                pause = self._start_due()
                try:
                    async with asyncio.timeout(pause):
                        await self._wake.wait()
                except TimeoutError:
                    continue
        finally:
            for task in self._running.values():
                task.cancel()
            await asyncio.gather(*self._running.values(), return_exceptions=True)

    async def drain(self, deadline_s: float) -> None:
        """Start no more attempts; wait for those under way, no longer than so many seconds."""
        self._closing = True
        if self._running:
            await asyncio.wait(set(self._running.values()), timeout=deadline_s)

    def _start_due(self) -> float | None:
        """Start what may start now; seconds until the next look, None when nothing is scheduled."""
        if self._closing:
            return None
        held: dict[str, Micros] = {}
        for job in self._due_now():
            if not self._has_room(job.action):
                self._waiting.setdefault(job.action, OrderedDict())[job.id] = None
                continue
            wait_s = self._may_start(job)
            if wait_s is None:
                self._start(job)
            elif wait_s >= 0:
                held[job.id] = self._now() + max(round(wait_s * SECOND), 1000)
            # below 0: dropped
        for job_id, due in held.items():
            heapq.heappush(self._heap, (due, next(self._numbers), job_id))
        return max(0.0, (self._heap[0][0] - self._now()) / SECOND) if self._heap else None

    def _due_now(self) -> Iterator[Job]:
        """Jobs whose time has come, each once: first those that waited for room, as far as there is room by now."""
        given: set[str] = set()
        for action, waiting in self._waiting.items():
            while waiting and self._has_room(action):
                yield from self._ripe(waiting.popitem(last=False)[0], given)
        now = self._now()
        while self._heap and self._heap[0][0] <= now:
            yield from self._ripe(heapq.heappop(self._heap)[2], given)

    def _ripe(self, job_id: str, given: set[str]) -> Iterator[Job]:
        """The job, unless it is over, was put off, is being tried, waits already or was given already."""
        job = self.jobs.get(job_id)
        if job is None or job_id in given or job_id in self._busy or job.due > self._now():
            return
        if job_id in self._waiting.get(job.action, ()):
            return
        given.add(job_id)
        yield job

    def _has_room(self, action: str) -> bool:
        """Whether another attempt of this action may be under way."""
        concurrency = self._policy.limits(action).concurrency
        return len(self._running) < ALL_AT_ONCE and self._running_by_action[action] < concurrency

    def _may_start(self, job: Job) -> float | None:
        """None: now. Otherwise seconds to wait; negative when the job is dropped."""
        verdict = self._judge(job)
        if verdict is None or verdict.kind in ("refused", "observed"):
            self.dropped(job, "nobody wants it any more: what it was decided on is over" if verdict is None else verdict.reason)
            self.forget(job)
            return -1.0
        if verdict.kind == "wait":
            return PARKED_S
        limits = self._policy.limits(job.action)
        clock = self._clock()
        breaker = self._breakers.setdefault(job.action, Breaker(limits.breaker_failures, limits.breaker_pause_s))
        cap = self._caps.setdefault(job.action, HourlyCap(limits.per_hour))
        free = max(breaker.free_at(clock), cap.free_at(clock), self._turn(job, clock))
        if free > clock:
            return free - clock
        breaker.start()
        cap.take(clock)
        self._turns.pop(job.id, None)
        return None

    def _turn(self, job: Job, clock: float) -> float:
        """When the rule's rate lets the job go; a job keeps the turn it was given."""
        if job.rate is None:
            return clock
        turn = self._turns.get(job.id)
        if turn is None:
            pace = self._paces.setdefault((job.rule, job.action), Pace(job.rate.count, job.rate.per / SECOND))
            turn = self._turns[job.id] = pace.turn(clock)
        return turn

    def _start(self, job: Job) -> None:
        self._running_by_action[job.action] += 1
        self._busy.add(job.id)
        task = asyncio.get_running_loop().create_task(self._attempt(job), name=f"action:{job.action}:{job.target[:32]}")
        self._running[job.id] = task

    async def _attempt(self, job: Job) -> None:
        started = self._clock()
        try:
            outcome = await self._outcome(job)
        finally:
            del self._running[job.id]
            self._running_by_action[job.action] -= 1
            self._wake.set()
        now = self._clock()
        self._tell_breaker(job, outcome, now)
        await self._intake.put(AttemptEnded(job, outcome, (now - started) * 1000, now))

    def _tell_breaker(self, job: Job, outcome: Outcome, now: float) -> None:
        breaker = self._breakers[job.action]
        was_open = breaker.is_open
        # "in progress" is the engine's own pace, and a refusal ours: neither says whether the action works.
        if not outcome.ok and outcome.error_kind in ("in_progress", "refused", "running"):
            breaker.abstain()
        elif breaker.finish(job.target, ok=outcome.ok, now=now):
            _log.warning("breaker", action=job.action, open=breaker.is_open)
        if was_open and breaker.free_at(now) <= now:
            # The others were put off until its pause would have been over.
            for other in self.jobs.values():
                if other.action == job.action and other.id not in self._busy:
                    self._schedule(other)

    async def _outcome(self, job: Job) -> Outcome:
        action = self._actions.get(job.action)
        if action is None:
            return Outcome(ok=False, error=f"{job.action} is not available on this host", error_kind="failed", permanent=True)
        limit = self._policy.limits(job.action).timeout_s
        try:
            async with asyncio.timeout(limit):
                return await action.run(job.params)
        except TimeoutError:
            return Outcome(ok=False, error=f"no answer within {limit:g} s", error_kind="timeout")
        except Exception as error:  # noqa: BLE001  an action promises not to raise; if one does, the other repairs go on
            _log.exception("an action raised", action=job.action, target=job.target)
            return Outcome(ok=False, error=f"{type(error).__name__}: {error}", error_kind="failed")
