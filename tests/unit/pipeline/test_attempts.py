"""Attempts on their way: what they come to, and the end of the process."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from engine.guardrails import ActionLimits, Policy
from engine.pipeline.attempts import Attempts
from engine.pipeline.intake import AttemptEnded, Intake
from engine.ports.actions import Action, Outcome
from tests.clocks import FixedClock
from tests.unit.pipeline.support import OK, START, Bench, cid, job, settle


class TestTheEnd:
    async def test_draining_waits_for_what_is_under_way(self) -> None:
        """At a stop, an attempt ends in peace."""
        bench = Bench()
        bench.add(job(1))
        await bench.look()
        drain = asyncio.create_task(bench.attempts.drain(5.0), name="drain")
        await settle()
        assert not drain.done()
        await bench.end(1)
        await drain
        assert bench.tried == [cid(1)]

    async def test_draining_has_a_bound(self) -> None:
        """An attempt that does not end is cancelled."""
        bench = Bench()
        bench.add(job(1))
        await bench.look()
        await bench.attempts.drain(0.01)
        await bench.attempts.cancel(1.0)
        assert bench.open[cid(1)].cancelled()


class TestOutcome:
    async def test_an_attempt_that_takes_too_long_is_given_up(self) -> None:
        """The time-out of the policy bounds what an action promises to bound itself."""
        outcome = await outcome_of(_Endless(), 0.01)
        assert (outcome.ok, outcome.error_kind) == (False, "timeout")

    async def test_an_action_that_raises_is_a_failed_attempt(self) -> None:
        """One faulty action does not take the other repairs with it."""
        outcome = await outcome_of(_Raising())
        assert (outcome.ok, outcome.error, outcome.error_kind) == (False, "KeyError: 'oops'", "failed")

    async def test_an_action_that_this_host_does_not_have_is_a_permanent_failure(self) -> None:
        """It is an outcome, not tried for ever."""
        assert (await outcome_of(None)).permanent

    async def test_its_end_has_the_duration(self) -> None:
        """By the monotonic clock, in milliseconds."""
        bench = Bench()
        bench.add(job(1))
        await bench.look()
        bench.clock.advance(1.5)
        ended = await bench.end(1)
        assert ended.duration_ms == pytest.approx(1500.0)
        assert ended.ended_at == 1.5


async def outcome_of(action: Action | None, timeout_s: float = 5.0) -> Outcome:
    """What one attempt comes to."""
    intake = Intake("h1")
    policy = Policy(mode="act", actions={"remove_container": ActionLimits(timeout_s=timeout_s)})
    actions = {} if action is None else {"remove_container": action}
    Attempts(actions=actions, policy=policy, intake=intake, clock=FixedClock(START)).start([job(1)])
    (entry,) = await intake.take(1, 5.0)
    assert isinstance(entry, AttemptEnded)
    return entry.outcome


class _Endless:
    name = "remove_container"

    async def run(self, params: Mapping[str, Any], *, touch_running: bool = False) -> Outcome:  # noqa: ARG002
        await asyncio.Event().wait()
        return OK


class _Raising:
    name = "remove_container"

    async def run(self, params: Mapping[str, Any], *, touch_running: bool = False) -> Outcome:  # noqa: ARG002
        raise KeyError("oops")
