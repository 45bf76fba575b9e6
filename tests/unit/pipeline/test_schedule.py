"""When attempts begin: due times, second thoughts, rates, room, breakers."""

import time
from typing import Any

import pytest

from engine.facts.docker import Container
from engine.facts.timestamps import SECOND, from_micros
from engine.guardrails import ActionLimits, Policy
from engine.pipeline.action_history import subjects_of_job
from engine.pipeline.actions import RETRY_NOW
from engine.pipeline.intake import AttemptEnded
from engine.pipeline.schedule import BLOCKED_RECHECK_S, MAX_CONCURRENT_ATTEMPTS, Schedule
from engine.rules.model import Rate, Retry
from tests.unit.pipeline.support import AWAY, BUSY, IN_PROGRESS, START, Bench, cid, job

RETRY = Retry(first=600 * SECOND, attempts=12, jitter=0)


def limits(**more: Any) -> Policy:
    """A policy with these limits on deletions."""
    return Policy(mode="act", actions={"remove_container": ActionLimits(**more)})


class TestDue:
    async def test_a_job_is_tried_when_it_is_due_and_not_before(self) -> None:
        """The due time is the wall clock's, so that it outlives the process."""
        bench = Bench()
        later = job(1)
        later.due = START + 30 * SECOND
        bench.add(later)
        assert await bench.look() == pytest.approx(30.0)
        await bench.look(29.9)
        assert bench.tried == []
        await bench.look(0.1)
        assert bench.tried == [cid(1)]

    async def test_what_nobody_wants_any_more_is_dropped_untried(self) -> None:
        """A job whose reason is over goes, and its place is free."""
        bench = Bench()
        bench.add(job(1))
        bench.core.active.clear()
        await bench.look()
        assert bench.tried == []
        assert bench.dropped == [(cid(1), "nobody wants it any more: what it was decided on is over")]
        assert bench.schedule.job_of(job(1).key) is None
        assert bench.schedule.jobs == {}

    async def test_what_is_refused_now_is_dropped_with_the_reason(self) -> None:
        """A guardrail that says no just before the attempt is obeyed."""
        bench = Bench()
        bench.add(job(1))
        bench.core.step(Container(id=cid(1), name="box", status="running", at=from_micros(START)))
        await bench.look()
        assert (bench.tried, bench.dropped) == ([], [(cid(1), "container box is running")])

    async def test_while_frozen_it_waits_and_goes_on_afterwards(self) -> None:
        """A verdict `wait` costs the job nothing but time."""
        bench = Bench()
        bench.add(job(1))
        bench.frozen = True
        assert await bench.look() == pytest.approx(BLOCKED_RECHECK_S)
        bench.frozen = False
        await bench.look(BLOCKED_RECHECK_S)
        assert bench.times(1) == 1

    async def test_an_action_that_this_host_does_not_have_is_a_permanent_failure(self) -> None:
        """It is said as an outcome, not tried for ever."""
        bench = Bench(names=())
        bench.add(job(1))
        await bench.look()
        (entry,) = await bench.intake.take(1, 1.0)
        assert isinstance(entry, AttemptEnded)
        assert entry.outcome.permanent


class TestOneAttemptAtATime:
    async def test_running_a_job_now_that_is_under_way_tries_it_again_at_once_after_a_failure(self) -> None:
        """What was learned meanwhile is not lost: the backoff of this failure is skipped."""
        bench = Bench()
        one = job(1, retry=RETRY)
        bench.add(one)
        await bench.look()
        assert bench.run_now(cid(1)) == [one]
        await bench.look()
        assert bench.times(1) == 1
        await bench.over(1, BUSY)
        await bench.look()
        assert bench.times(1) == 2

    async def test_running_it_now_before_its_end_is_taken_in_starts_no_second_attempt(self) -> None:
        """Between the end of an attempt and its being taken in, the job is in flight still, and is not tried a second time."""
        bench = Bench()
        one = job(1, retry=RETRY)
        bench.add(one)
        await bench.look()
        ended = await bench.end(1)
        about = subjects_of_job(one)
        assert bench.history.has_attempt_in_flight(about)
        bench.run_now(cid(1))
        await bench.look()
        assert bench.times(1) == 1
        bench.take(ended)
        assert not bench.history.has_attempt_in_flight(about)

    async def test_a_wish_to_run_now_ends_with_the_job(self) -> None:
        """A later job of the same name does not inherit it."""
        bench = Bench()
        bench.add(job(1))
        await bench.look()
        bench.run_now(cid(1))
        await bench.over(1)
        assert bench.schedule._run_again == set()

    async def test_running_now_often_while_frozen_leaves_one_attempt(self) -> None:
        """Each call asks for the same; the job is started once."""
        bench = Bench()
        bench.add(job(1))
        bench.frozen = True
        for _ in range(50):
            bench.run_now(cid(1))
        await bench.look()
        bench.actions.judged = 0
        bench.frozen = False
        await bench.look(BLOCKED_RECHECK_S)
        assert bench.times(1) == 1
        assert bench.judged == 1

    async def test_retry_now_makes_due_what_is_scheduled_and_names_it(self) -> None:
        """The action of the chain that makes a deletion follow an unmount at once."""
        bench = Bench()
        one, other = job(1), job(2)
        one.due = other.due = START + 900 * SECOND
        bench.add(one, other, job(1, action=RETRY_NOW), job(9, action=RETRY_NOW))
        await bench.look()
        results = [bench.take(entry) for entry in await bench.intake.take(2, 1.0) if isinstance(entry, AttemptEnded)]
        await bench.look()
        assert bench.tried == [cid(1)]
        assert [(one.ok, one.detail) for one in results] == [(True, "remove_container"), (True, "nothing was scheduled")]

    async def test_an_attempt_whose_turn_was_not_committed_does_not_begin(self) -> None:
        """Nothing is acted on before it is in the journal; a second reason finds the job all the same."""
        bench = Bench()
        one = job(1)
        bench.add(one)
        await bench.look(committed=False)
        assert bench.schedule.job_of(job(1, activation="another").key) is one
        assert bench.tried == []
        await bench.look(BLOCKED_RECHECK_S)
        assert bench.tried == [cid(1)]


class TestRoom:
    async def test_no_more_attempts_than_the_policy_allows_and_the_next_as_one_ends(self) -> None:
        """Concurrency is by action, in the order in which the jobs became due."""
        bench = Bench(limits(concurrency=2))
        for number in range(1, 5):
            bench.add(job(number))
        await bench.look()
        assert bench.tried == [cid(1), cid(2)]
        await bench.over(2)
        await bench.look()
        assert bench.tried == [cid(1), cid(2), cid(3)]

    async def test_those_that_wait_for_room_are_not_looked_at_until_there_is_some(self) -> None:
        """A storm of 6,000 deletions behind two slow ones costs no processor time."""
        bench = Bench(limits(concurrency=2))
        for number in range(6000):
            bench.add(job(number))
        assert await bench.look() is None
        judged = bench.judged
        for _ in range(10):
            await bench.look(0.5)
        assert bench.judged == judged
        assert len(bench.tried) == 2
        await bench.over(0)
        await bench.look()
        assert len(bench.tried) == 3

    async def test_all_actions_together_have_a_bound_too(self) -> None:
        """However generous the policy: each attempt may hold a connection and a thread."""
        bench = Bench(limits(concurrency=64))
        for number in range(20):
            bench.add(job(number))
        await bench.look()
        assert len(bench.tried) == MAX_CONCURRENT_ATTEMPTS

    async def test_the_rate_of_a_rule_spreads_its_jobs(self) -> None:
        """`rate: 5/s` lets one go every 0.2 seconds, each in its turn."""
        bench = Bench(limits(concurrency=64))
        for number in range(3):
            bench.add(job(number, rate=Rate(5, SECOND)))
        await bench.look()
        assert bench.tried == [cid(0)]
        await bench.look(0.19)
        assert bench.tried == [cid(0)]
        await bench.look(0.02)
        assert bench.tried == [cid(0), cid(1)]
        await bench.look(0.2)
        assert bench.tried == [cid(0), cid(1), cid(2)]

    async def test_the_cap_of_an_hour_holds(self) -> None:
        """The attempt after the last one allowed begins when the first is an hour old."""
        bench = Bench(limits(per_hour=1))
        bench.add(job(1))
        bench.add(job(2))
        await bench.look()
        await bench.over(1)
        await bench.look(3599)
        assert bench.tried == [cid(1)]
        await bench.look(2)
        assert bench.tried == [cid(1), cid(2)]


class TestBreaker:
    async def opened(self) -> Bench:
        """A bench whose breaker two failures have opened, with three more jobs that wait."""
        bench = Bench(limits(breaker_failures=2, breaker_pause_s=300))
        for number in range(1, 6):
            bench.add(job(number))
        await bench.look()
        for number in (1, 2):
            await bench.over(number, BUSY)
        await bench.look()
        assert bench.schedule.breakers_open() == ["remove_container"]
        assert bench.tried == [cid(1), cid(2)]
        return bench

    async def test_it_lets_one_attempt_through_after_its_pause(self) -> None:
        """One probes; the others wait for what comes of it."""
        bench = await self.opened()
        await bench.look(301)
        assert bench.tried == [cid(1), cid(2), cid(3)]

    async def test_when_the_probe_succeeds_the_others_go_at_once(self) -> None:
        """They do not sit out a pause that is over."""
        bench = await self.opened()
        await bench.look(301)
        await bench.over(3)
        await bench.look(0.1)
        assert bench.schedule.breakers_open() == []
        assert (bench.times(4), bench.times(5)) == (1, 1)

    async def test_when_the_probe_fails_the_others_wait_again(self) -> None:
        """Docker is not hammered while it cannot."""
        bench = await self.opened()
        await bench.look(301)
        await bench.over(3, BUSY)
        await bench.look(299)
        assert len(bench.tried) == 3
        await bench.look(301)
        assert len(bench.tried) == 4

    async def test_a_probe_that_says_nothing_does_not_stop_the_action_for_ever(self) -> None:
        """A probe that Docker answers with "in progress" leaves the next one to find out."""
        bench = await self.opened()
        await bench.look(301)
        await bench.over(3, IN_PROGRESS)
        await bench.look(0.1)
        assert bench.tried[3:] == [cid(4)]


def test_the_jobs_of_a_container_are_found_among_many() -> None:
    """Making the jobs of each of thousands of containers due looks at those alone."""
    schedule = Schedule(Policy(mode="act"))
    jobs = [job(number) for number in range(3_000)]
    for one in jobs:
        one.due = START + 3600 * SECOND
        schedule.add(one)
    began = time.process_time()
    for one in jobs:
        assert schedule.run_now(one.container or "", exclude="", now=START) == [one]
    assert time.process_time() - began < 0.4
    for one in jobs:
        schedule.remove(one)
    assert schedule._by_container == {}


class TestDockerAway:
    async def test_it_costs_no_attempt_and_opens_no_breaker(self) -> None:
        """A Docker that is away is no fault of the action: the jobs wait for it, and all are done at last."""
        bench = Bench(limits(breaker_failures=2, concurrency=2))
        jobs = [job(number, retry=Retry(first=600 * SECOND, attempts=2, jitter=0)) for number in range(1, 6)]
        bench.add(*jobs)
        for _ in range(30):
            await bench.look(40)
            for number in [number for number in range(1, 6) if cid(number) in bench.open]:
                await bench.over(number, AWAY)
        assert [one.attempts_made for one in jobs] == [0] * 5
        assert bench.schedule.breakers_open() == []
        assert len(bench.schedule.jobs) == 5
        for _ in range(6):
            await bench.look(40)
            for number in [number for number in range(1, 6) if cid(number) in bench.open]:
                await bench.over(number)
        assert bench.schedule.jobs == {}
        assert [row.verdict for row in bench.batch.audit].count("done") == 5

    async def test_it_is_said_once_not_at_every_look(self) -> None:
        """One message and one row of the audit when it begins; a day of looks adds none."""
        bench = Bench()
        bench.add(job(1, retry=RETRY))
        for _ in range(20):
            await bench.look(40)
            bench.take_any(await bench.end(1, AWAY))
        assert [row.verdict for row in bench.batch.audit] == ["will be tried again"]
        assert len(bench.batch.outbox) == 1

    async def test_while_it_is_away_the_others_are_not_tried(self) -> None:
        """One pause holds for all jobs of the action, and it grows to half a minute or so."""
        bench = Bench(limits(concurrency=1))
        for number in range(1, 50):
            bench.add(job(number))
        for _ in range(300):
            await bench.look(1)
            for number in [number for number in range(1, 50) if cid(number) in bench.open]:
                bench.take_any(await bench.end(number, AWAY))
        assert 8 <= len(bench.tried) <= 15

    async def test_once_it_is_back_they_go_at_their_rate(self) -> None:
        """Turns that passed while Docker was away are given anew: no burst."""
        bench = Bench(limits(concurrency=64))
        for number in range(6):
            bench.add(job(number, rate=Rate(1, 10 * SECOND)))
        await bench.look()
        await bench.over(0, AWAY)
        for _ in range(4):
            await bench.look(1)
        before = len(bench.tried)
        for number in [number for number in range(6) if cid(number) in bench.open]:
            await bench.over(number)
        for _ in range(20):
            await bench.look(1)
        assert len(bench.tried) - before <= 2

    async def test_what_is_given_up_at_last_is_said(self) -> None:
        """After a day without an answer the job ends, as exhausted."""
        bench = Bench()
        one = job(1, retry=RETRY)
        bench.add(one)
        await bench.look()
        await bench.over(1, AWAY)
        await bench.look(86_401)
        result = bench.take(await bench.end(1, AWAY))
        assert (result.exhausted, bench.batch.audit[-1].verdict, bench.schedule.jobs) == (True, "failed", {})
