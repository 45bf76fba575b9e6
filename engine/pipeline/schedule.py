"""Which job may be tried when: due times, room, rates, caps and breakers. Sans-I/O: the time is handed in.

Knows neither core nor journal, and starts nothing: whether a due job is still wanted and allowed is asked by who starts it.
Due times are of the wall clock, so that they outlive the process; rates, caps and breakers go by the monotonic clock.
"""

import heapq
import itertools
from collections import Counter, OrderedDict
from collections.abc import Iterator

from pydantic import BaseModel, ConfigDict, Field

from engine.facts.timestamps import SECOND, Micros
from engine.guardrails import Policy
from engine.pipeline.jobs import Job
from engine.pipeline.limits import Away, Breaker, HourlyCap, Pace
from engine.ports.actions import Outcome

MAX_CONCURRENT_ATTEMPTS = 8
"""Attempts under way at the same time, of all actions: each may hold a connection and a thread."""

BLOCKED_RECHECK_S = 1.0
"""A job that waits for something without a known end (frozen, no journal) is looked at again after so long."""

_SHORTEST_WAIT: Micros = 1000
"""A job that was put off is not due again in the same look."""

_SAYS_NOTHING = ("in_progress", "refused", "running", "unreachable")
"""Docker's own pace, refusals of ours, a Docker that is away: none says whether the action works."""


class _Limits(BaseModel):
    """Caps, breakers and rates for the journal; times are seconds before or after `at`, the wall clock in microseconds."""

    model_config = ConfigDict(extra="forbid")

    at: Micros
    caps: dict[str, list[tuple[float, int]]] = Field(default_factory=dict)
    breakers: dict[str, tuple[list[str], float | None]] = Field(default_factory=dict)
    rates: list[tuple[str, str, float, float, float]] = Field(default_factory=list)
    """Rule, action, count, seconds, seconds until the next turn."""


class Schedule:
    """Jobs by key and due time. One job for each key (action and target)."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self.jobs: dict[str, Job] = {}
        self._by_key: dict[tuple[str, str], Job] = {}
        self._by_container: dict[str, dict[str, Job]] = {}
        self._queue: list[tuple[Micros, int, str]] = []
        self._numbers = itertools.count()
        self._in_flight: dict[str, Job] = {}
        self._in_flight_by_action: Counter[str] = Counter()
        self._run_again: set[str] = set()
        """Jobs to be tried again at once, should the attempt that is under way fail."""
        self._waiting: dict[str, OrderedDict[str, None]] = {}
        """Jobs by action that are due and wait for another attempt to end; looked at only then, be they thousands."""
        self._paces: dict[tuple[str, str], Pace] = {}
        self._turns: dict[str, float] = {}
        self._caps: dict[str, HourlyCap] = {}
        self._breakers: dict[str, Breaker] = {}
        self._away: dict[str, Away] = {}
        self.limits_changed = False
        """Whether the journal has to learn of caps, breakers and rates."""

    # -- jobs come and go ---------------------------------------------------------------------------------------------

    def job_of(self, key: tuple[str, str]) -> Job | None:
        """The job that is at this action and target already, None for none."""
        return self._by_key.get(key)

    def add(self, job: Job) -> None:
        """Take a job on: its key is reserved, so that a second reason joins it; it may be tried when it is due."""
        self.jobs[job.id] = job
        self._by_key[job.key] = job
        if job.container is not None:
            self._by_container.setdefault(job.container, {})[job.id] = job
        self._enqueue(job, job.due)

    def remove(self, job: Job) -> None:
        """The job is over."""
        self.jobs.pop(job.id, None)
        self._turns.pop(job.id, None)
        self._run_again.discard(job.id)
        if self._by_key.get(job.key) is job:
            del self._by_key[job.key]
        of_container = self._by_container.get(job.container or "", {})
        if of_container.pop(job.id, None) is not None and not of_container:
            del self._by_container[job.container or ""]

    def run_now(self, container: str, *, exclude: str, now: Micros) -> list[Job]:
        """Let the waiting jobs that concern a container be due now; the ones concerned."""
        concerned = [job for job in self._by_container.get(container, {}).values() if job.action != exclude]
        for job in concerned:
            if job.id in self._in_flight:
                self._run_again.add(job.id)
            else:
                job.due = now
                self._enqueue(job, now)
        return concerned

    def shift(self, step: Micros) -> None:
        """The clock was set: jobs are due after as much time as before."""
        for job in self.jobs.values():
            job.shift(step)
        self._queue = [(due + step, number, job_id) for due, number, job_id in self._queue]  # still a heap
        self.limits_changed = True

    @property
    def next_due(self) -> Micros | None:
        """When to look again, None while nothing is scheduled or all wait for room."""
        return self._queue[0][0] if self._queue else None

    def breakers_open(self) -> list[str]:
        """Actions that are stopped because they kept failing."""
        return sorted(name for name, breaker in self._breakers.items() if breaker.is_open)

    def _enqueue(self, job: Job, at: Micros) -> None:
        heapq.heappush(self._queue, (at, next(self._numbers), job.id))

    # -- before an attempt --------------------------------------------------------------------------------------------

    def due(self, now: Micros) -> Iterator[Job]:
        """Jobs whose time has come and for which there is room, each once: first those that waited for room.

        Each one that is given is to be started, put off or removed before the next is asked for.
        """
        given: set[str] = set()
        for action, waiting in self._waiting.items():
            while waiting and self._has_room(action):
                yield from self._ripe(waiting.popitem(last=False)[0], given, now)
        while self._queue and self._queue[0][0] <= now:
            for job in self._ripe(heapq.heappop(self._queue)[2], given, now):
                if self._has_room(job.action):
                    yield job
                else:
                    self._waiting.setdefault(job.action, OrderedDict())[job.id] = None

    def _ripe(self, job_id: str, given: set[str], now: Micros) -> Iterator[Job]:
        """The job, unless it is over, was put off, is being tried, waits already or was given already."""
        job = self.jobs.get(job_id)
        if job is None or job_id in given or job_id in self._in_flight or job.due > now:
            return
        if job_id in self._waiting.get(job.action, ()):
            return
        given.add(job_id)
        yield job

    def _has_room(self, action: str) -> bool:
        """Whether another attempt of this action may be under way."""
        concurrency = self._policy.limits(action).concurrency
        return len(self._in_flight) < MAX_CONCURRENT_ATTEMPTS and self._in_flight_by_action[action] < concurrency

    def wait_s(self, job: Job, monotonic: float) -> float:
        """Seconds until rate, cap, breaker and Docker let the next attempt begin; 0: now. A job keeps the turn it was given."""
        breaker, cap = self._limits(job.action)
        back = self._away.setdefault(job.action, Away()).free_at(monotonic)
        if back > monotonic:
            # No turn is given meanwhile, and one that would pass is given anew: those held back go at their rate, no burst.
            if self._turns.get(job.id, back) < back:
                del self._turns[job.id]
            return back - monotonic
        return max(breaker.free_at(monotonic), cap.free_at(monotonic), self._turn(job, monotonic)) - monotonic

    def put_off(self, job: Job, now: Micros, seconds: float) -> None:
        """Look at a due job again after so many seconds."""
        self._enqueue(job, now + max(round(seconds * SECOND), _SHORTEST_WAIT))

    def start(self, job: Job, monotonic: float) -> None:
        """An attempt begins: it takes its room and its place under the limits."""
        breaker, cap = self._limits(job.action)
        breaker.start()
        cap.take(monotonic)
        self.limits_changed = True
        self._turns.pop(job.id, None)
        self._in_flight[job.id] = job
        self._in_flight_by_action[job.action] += 1

    def cancel_start(self, job: Job, now: Micros) -> None:
        """The attempt that was to begin does not: the job is looked at again soon."""
        self._leave(job)
        self._breakers[job.action].abstain()
        self.put_off(job, now, BLOCKED_RECHECK_S)

    def _limits(self, action: str) -> tuple[Breaker, HourlyCap]:
        limits = self._policy.limits(action)
        breaker = self._breakers.setdefault(action, Breaker(limits.breaker_failures, limits.breaker_pause_s))
        return breaker, self._caps.setdefault(action, HourlyCap(limits.per_hour))

    def _turn(self, job: Job, monotonic: float) -> float:
        """When the rule's rate lets the job go."""
        if job.rate is None:
            return monotonic
        turn = self._turns.get(job.id)
        if turn is None:
            pace = self._paces.setdefault((job.rule, job.action), Pace(job.rate.count, job.rate.per / SECOND))
            turn = self._turns[job.id] = pace.turn(monotonic)
        return turn

    # -- across restarts ----------------------------------------------------------------------------------------------

    def limits_json(self, now: Micros, monotonic: float) -> str:
        """Caps, breakers and rates, for the journal: bounded by the policy, not by how much was done."""
        self.limits_changed = False
        rates = [(rule, action, pace.count, pace.per_s, pace.left_s(monotonic)) for (rule, action), pace in self._paces.items()]
        return _Limits(
            at=now,
            caps={action: ages for action, cap in self._caps.items() if (ages := cap.ages(monotonic))},
            breakers={action: state for action, one in self._breakers.items() if (state := one.state(monotonic)) != ([], None)},
            rates=[rate for rate in rates if rate[-1] > 0],
        ).model_dump_json()

    def restore_limits(self, text: str, now: Micros, monotonic: float) -> None:
        """Go on under the limits that an earlier process left.

        Raises:
            ValueError: it is none of these.
        """
        saved = _Limits.model_validate_json(text)
        passed = max(0.0, (now - saved.at) / SECOND)  # a clock that was set back does not make them last longer
        for action, ages in saved.caps.items():
            self._limits(action)[1].restore([(age + passed, count) for age, count in ages], monotonic)
        for action, (failed, left_s) in saved.breakers.items():
            self._limits(action)[0].restore(failed, None if left_s is None else left_s - passed, monotonic)
        for rule, action, count, per_s, left_s in saved.rates:
            pace = self._paces[rule, action] = Pace(count, per_s)
            pace.restore(left_s - passed, monotonic)

    # -- after an attempt ---------------------------------------------------------------------------------------------

    def finish(self, job: Job, outcome: Outcome, *, now: Micros, ended_at: float) -> bool:
        """An attempt has ended; True when that opened or closed the breaker of its action.

        Args:
            job: to be removed, or retried, next.
            outcome: of the attempt.
            now: the wall clock.
            ended_at: when it ended, by the monotonic clock.
        """
        self._leave(job)
        away = self._away.setdefault(job.action, Away())
        if outcome.error_kind == "unreachable":
            away.found(ended_at, job.jitter(job.attempts_made))
        else:
            away.answered()
        breaker = self._breakers[job.action]
        was_open = breaker.is_open
        turned = False
        if not outcome.ok and outcome.error_kind in _SAYS_NOTHING:
            breaker.abstain()
        else:
            self.limits_changed = True
            turned = breaker.finish(job.target, ok=outcome.ok, now=ended_at)
        if was_open and breaker.free_at(ended_at) <= ended_at:
            # The others were put off until its pause would have been over.
            for other in self.jobs.values():
                if other.action == job.action and other is not job and other.id not in self._in_flight:
                    self._enqueue(other, max(other.due, now))
        return turned

    def retry(self, job: Job, now: Micros) -> None:
        """The job's next attempt is due when it says so, or at once if somebody wished that meanwhile."""
        if job.id in self._run_again:
            self._run_again.discard(job.id)
            job.due = now
        self._enqueue(job, job.due)

    def _leave(self, job: Job) -> None:
        del self._in_flight[job.id]
        self._in_flight_by_action[job.action] -= 1
