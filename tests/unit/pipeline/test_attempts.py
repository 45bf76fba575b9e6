"""When attempts begin: due times, second thoughts, rates, room, breakers, and the end of the process."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from engine.facts.timestamps import SECOND
from engine.guardrails import ACT, ActionLimits, Policy, Verdict
from engine.pipeline.attempts import ALL_AT_ONCE, PARKED_S, Executor
from engine.pipeline.intake import AttemptEnded, Intake
from engine.pipeline.retry_now import RetryNow
from engine.ports.actions import Outcome
from engine.rules.model import Rate
from tests.unit.pipeline.support import BUSY, IN_PROGRESS, OK, START, Bench, cid, job, settle


def limits(**more: Any) -> Policy:
    """A policy with these limits on deletions."""
    return Policy(mode="act", actions={"remove_container": ActionLimits(**more)})


class TestDue:
    async def test_a_job_is_tried_when_it_is_due_and_not_before(self) -> None:
        """The due time is the wall clock's, so that it outlives the process."""
        bench = Bench()
        later = job(1)
        later.due = START + 30 * SECOND
        bench.executor.add(later)
        assert await bench.look() == pytest.approx(30.0)
        await bench.look(29.9)
        assert bench.attempts == []
        await bench.look(0.1)
        assert bench.attempts == [cid(1)]

    async def test_what_nobody_wants_any_more_is_dropped_untried(self) -> None:
        """A job whose reason is over goes, and its place is free."""
        bench = Bench()
        bench.executor.add(job(1))
        bench.verdict = None
        await bench.look()
        assert bench.attempts == []
        assert bench.dropped == [(cid(1), "nobody wants it any more: what it was decided on is over")]
        assert bench.executor.at_place(job(1)) is None
        assert bench.executor.jobs == {}

    async def test_what_is_refused_now_is_dropped_with_the_reason(self) -> None:
        """A guardrail that says no just before the attempt is obeyed."""
        bench = Bench()
        bench.executor.add(job(1))
        bench.verdict = Verdict("refused", "container box is running")
        await bench.look()
        assert (bench.attempts, bench.dropped) == ([], [(cid(1), "container box is running")])

    async def test_while_frozen_it_waits_and_goes_on_afterwards(self) -> None:
        """A verdict `wait` costs the job nothing but time."""
        bench = Bench()
        bench.executor.add(job(1))
        bench.verdict = Verdict("wait", "frozen")
        assert await bench.look() == pytest.approx(PARKED_S)
        bench.verdict = ACT
        await bench.look(PARKED_S)
        assert bench.tried(1) == 1

    async def test_an_action_that_this_host_does_not_have_is_a_permanent_failure(self) -> None:
        """It is said as an outcome, not tried for ever."""
        bench = Bench(names=())
        bench.executor.add(job(1))
        await bench.look()
        (entry,) = await bench.intake.batch(1, 1.0)
        assert isinstance(entry, AttemptEnded)
        assert entry.outcome.permanent


class TestOneAttemptAtATime:
    async def test_hurrying_a_job_under_way_tries_it_again_at_once_after_a_failure(self) -> None:
        """What was learned meanwhile is not lost: the backoff of this failure is skipped."""
        bench = Bench()
        one = job(1)
        bench.executor.add(one)
        await bench.look()
        assert bench.executor.hurry(cid(1), but_not="retry_now") == [one]
        await bench.look()
        assert bench.tried(1) == 1
        await bench.end(1, BUSY)
        one.due = bench.now() + 600 * SECOND
        bench.executor.reschedule(one)
        await bench.look()
        assert bench.tried(1) == 2

    async def test_hurrying_before_the_engine_knows_of_the_end_starts_no_second_attempt(self) -> None:
        """Between the end of an attempt and its being taken in, the job is busy still, and is not tried a second time."""
        bench = Bench()
        one = job(1)
        bench.executor.add(one)
        await bench.look()
        ended = await bench.end(1)
        assert bench.executor.running(one)
        bench.executor.hurry(cid(1), but_not="retry_now")
        await bench.look()
        assert bench.tried(1) == 1
        bench.executor.forget(ended.job)
        assert not bench.executor.running(one)

    async def test_a_wish_to_hurry_ends_with_the_job(self) -> None:
        """A later job of the same name does not inherit it."""
        bench = Bench()
        bench.executor.add(job(1))
        await bench.look()
        bench.executor.hurry(cid(1), but_not="retry_now")
        ended = await bench.end(1)
        bench.executor.forget(ended.job)
        assert bench.executor._again == set()

    async def test_hurrying_often_while_frozen_leaves_one_attempt(self) -> None:
        """Each call asks for the same; the job is started once."""
        bench = Bench()
        bench.executor.add(job(1))
        bench.verdict = Verdict("wait", "frozen")
        for _ in range(50):
            bench.executor.hurry(cid(1), but_not="")
        await bench.look()
        bench.judged = 0
        bench.verdict = ACT
        await bench.look(PARKED_S)
        assert bench.tried(1) == 1
        assert bench.judged == 1

    async def test_retry_now_hurries_what_is_scheduled_and_says_what(self) -> None:
        """The action of the chain that makes a deletion follow an unmount at once."""
        bench = Bench()
        one, other = job(1), job(2)
        one.due = other.due = START + 900 * SECOND
        bench.executor.add(one)
        bench.executor.add(other)
        outcome = await RetryNow(bench.executor).run({"container": cid(1)})
        await bench.look()
        assert (outcome.ok, outcome.detail, bench.attempts) == (True, "remove_container", [cid(1)])
        assert (await RetryNow(bench.executor).run({"container": cid(9)})).detail == "nothing was scheduled"

    async def test_a_job_that_is_not_kept_yet_has_its_place_but_is_not_hurried(self) -> None:
        """Nothing is acted on before it is in the journal; a second reason finds the job all the same."""
        bench = Bench()
        one = job(1)
        bench.executor.expect(one)
        assert bench.executor.at_place(job(1, activation="another")) is one
        assert bench.executor.hurry(cid(1), but_not="") == []
        await bench.look()
        assert bench.attempts == []


class TestRoom:
    async def test_no_more_attempts_than_the_policy_allows_and_the_next_as_one_ends(self) -> None:
        """Concurrency is by action, in the order in which the jobs became due."""
        bench = Bench(limits(concurrency=2))
        for number in range(1, 5):
            bench.executor.add(job(number))
        await bench.look()
        assert bench.attempts == [cid(1), cid(2)]
        await bench.end(2)
        await bench.look()
        assert bench.attempts == [cid(1), cid(2), cid(3)]

    async def test_those_that_wait_for_room_are_not_looked_at_until_there_is_some(self) -> None:
        """A storm of 6,000 deletions behind two slow ones costs no processor time."""
        bench = Bench(limits(concurrency=2))
        for number in range(6000):
            bench.executor.add(job(number))
        assert await bench.look() is None
        judged = bench.judged
        for _ in range(10):
            await bench.look(0.5)
        assert bench.judged == judged
        assert len(bench.attempts) == 2
        await bench.end(0)
        await bench.look()
        assert len(bench.attempts) == 3

    async def test_all_actions_together_have_a_bound_too(self) -> None:
        """However generous the policy: each attempt may hold a connection and a thread."""
        bench = Bench(limits(concurrency=64))
        for number in range(20):
            bench.executor.add(job(number))
        await bench.look()
        assert len(bench.attempts) == ALL_AT_ONCE

    async def test_the_rate_of_a_rule_spreads_its_jobs(self) -> None:
        """`rate: 5/s` lets one go every 0.2 seconds, each in its turn."""
        bench = Bench(limits(concurrency=64))
        for number in range(3):
            bench.executor.add(job(number, rate=Rate(5, SECOND)))
        await bench.look()
        assert bench.attempts == [cid(0)]
        await bench.look(0.19)
        assert bench.attempts == [cid(0)]
        await bench.look(0.02)
        assert bench.attempts == [cid(0), cid(1)]
        await bench.look(0.2)
        assert bench.attempts == [cid(0), cid(1), cid(2)]

    async def test_the_cap_of_an_hour_holds(self) -> None:
        """The attempt after the last one allowed begins when the first is an hour old."""
        bench = Bench(limits(per_hour=1))
        bench.executor.add(job(1))
        bench.executor.add(job(2))
        await bench.look()
        await bench.end(1)
        await bench.look(3599)
        assert bench.attempts == [cid(1)]
        await bench.look(2)
        assert bench.attempts == [cid(1), cid(2)]


class TestBreaker:
    async def opened(self) -> Bench:
        """A bench whose breaker two failures have opened, with three more jobs that wait."""
        bench = Bench(limits(breaker_failures=2, breaker_pause_s=300))
        for number in range(1, 6):
            bench.executor.add(job(number))
        await bench.look()
        for number in (1, 2):
            ended = await bench.end(number, BUSY)
            bench.executor.forget(ended.job)
        await bench.look()
        assert bench.executor.breakers_open() == ["remove_container"]
        assert bench.attempts == [cid(1), cid(2)]
        return bench

    async def test_it_lets_one_attempt_through_after_its_pause(self) -> None:
        """One probes; the others wait for what comes of it."""
        bench = await self.opened()
        await bench.look(301)
        assert bench.attempts == [cid(1), cid(2), cid(3)]

    async def test_when_the_probe_succeeds_the_others_go_at_once(self) -> None:
        """They do not sit out a pause that is over."""
        bench = await self.opened()
        await bench.look(301)
        bench.executor.forget((await bench.end(3)).job)
        await bench.look(0.1)
        assert bench.executor.breakers_open() == []
        assert (bench.tried(4), bench.tried(5)) == (1, 1)

    async def test_when_the_probe_fails_the_others_wait_again(self) -> None:
        """The engine is not hammered while it cannot."""
        bench = await self.opened()
        await bench.look(301)
        bench.executor.forget((await bench.end(3, BUSY)).job)
        await bench.look(299)
        assert len(bench.attempts) == 3
        await bench.look(301)
        assert len(bench.attempts) == 4

    async def test_a_probe_that_says_nothing_does_not_stop_the_action_for_ever(self) -> None:
        """A probe that the engine answers with "in progress" leaves the next one to find out."""
        bench = await self.opened()
        await bench.look(301)
        ended = await bench.end(3, IN_PROGRESS)
        ended.job.due = bench.now() + 60 * SECOND
        bench.executor.reschedule(ended.job)
        await bench.look(0.1)
        assert bench.attempts[3:] == [cid(4)]


class TestTheEnd:
    async def test_draining_waits_for_what_is_under_way_and_starts_nothing_more(self) -> None:
        """At a stop, an attempt ends in peace; the next job stays in the journal."""
        bench = Bench(limits(concurrency=1))
        bench.executor.add(job(1))
        bench.executor.add(job(2))
        run = asyncio.create_task(bench.executor.run(), name="executor")
        await settle()
        drain = asyncio.create_task(bench.executor.drain(5.0), name="drain")
        await settle()
        assert not drain.done()
        await bench.end(1)
        await drain
        await settle()
        assert bench.attempts == [cid(1)]
        run.cancel()
        await asyncio.wait({run}, timeout=1.0)

    async def test_draining_has_a_bound(self) -> None:
        """An attempt that does not end is cancelled with the executor."""
        bench = Bench()
        bench.executor.add(job(1))
        run = asyncio.create_task(bench.executor.run(), name="executor")
        await settle()
        await bench.executor.drain(0.01)
        run.cancel()
        await asyncio.wait({run}, timeout=1.0)
        assert run.cancelled()
        assert bench.open[cid(1)].cancelled()

    async def test_an_attempt_that_takes_too_long_is_given_up(self) -> None:
        """The time-out of the policy bounds what an action promises to bound itself."""
        outcome = await self.outcome_of(_Endless(), limits(timeout_s=0.01))
        assert (outcome.ok, outcome.error_kind) == (False, "timeout")

    async def test_an_action_that_raises_is_a_failed_attempt(self) -> None:
        """One faulty action does not take the other repairs with it."""
        outcome = await self.outcome_of(_Raising(), limits())
        assert (outcome.ok, outcome.error, outcome.error_kind) == (False, "KeyError: 'oops'", "failed")

    async def outcome_of(self, action: Any, policy: Policy) -> Outcome:
        """What one attempt comes to when the executor runs by itself."""
        intake = Intake()
        executor = Executor(
            actions={"remove_container": action}, policy=policy, intake=intake, judge=lambda _job: ACT, now=lambda: START
        )
        executor.add(job(1))
        run = asyncio.create_task(executor.run(), name="executor")
        (entry,) = await intake.batch(1, 5.0)
        run.cancel()
        await asyncio.wait({run}, timeout=1.0)
        assert isinstance(entry, AttemptEnded)
        return entry.outcome


class _Endless:
    name = "remove_container"

    async def run(self, _params: Mapping[str, Any]) -> Outcome:
        await asyncio.Event().wait()
        return OK


class _Raising:
    name = "remove_container"

    async def run(self, _params: Mapping[str, Any]) -> Outcome:
        raise KeyError("oops")
