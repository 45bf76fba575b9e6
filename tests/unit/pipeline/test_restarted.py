"""What a restart finds: nothing is changed on facts of before, and an attempt that was cut off is known."""

from pathlib import Path
from typing import Any

import pytest

from engine.action_catalog import ACTIONS
from engine.facts.host import ProcessFiles, Source
from engine.facts.timestamps import from_micros
from engine.guardrails import ActionLimits, Policy, judge
from engine.journal.records import Batch
from engine.pipeline.limits import HourlyCap
from engine.pipeline.turn import Untold
from tests.unit.pipeline.loop import DEAD, House, container, gone
from tests.unit.pipeline.support import BUSY, START, cid, settle

RESTART = b"""
rules:
  - rule: restart-unhealthy
    title: A container is unhealthy
    severity: warning
    when:
      sick: {fact: container, health: unhealthy}
    key: "{sick.id}"
    then:
      - alert: "container {sick.name} is unhealthy"
      - do: restart_container
        container: $sick.id
"""


@pytest.fixture
async def house(tmp_path: Path) -> House:
    """A sidecar that restarts what is unhealthy."""
    return House(tmp_path, RESTART)


async def test_nothing_is_done_before_docker_has_listed_anew(tmp_path: Path) -> None:
    """A job that is due at the start waits for the listing, and goes then."""
    before = House(tmp_path, DEAD)
    await before.emit(container(1))
    after = await before.restarted_without_docker()
    for _ in range(3):
        await after.act()
        after.clock.advance(1.0)
    assert after.attempts == []
    await after.emit(Source.report("docker_listing", "lost", at=from_micros(START)))
    after.clock.advance(1.0)
    await after.act()
    assert after.attempts == []
    await after.emit(Source.report("docker_listing", "ok", at=from_micros(START)))
    after.clock.advance(1.0)
    await after.act()
    assert after.attempts == [cid(1)]
    await after.stop()


async def test_one_container_told_anew_is_enough_for_its_own_job(tmp_path: Path) -> None:
    """What is known of it now is news; another container's job still waits."""
    before = House(tmp_path, DEAD)
    await before.emit(container(1), container(2))
    after = await before.restarted_without_docker()
    await after.emit(container(1))
    await after.act()
    assert after.attempts == [cid(1)]
    await after.stop()


async def test_what_is_well_again_or_gone_is_left_alone(house: House) -> None:
    """A container that became healthy while nobody looked is not restarted."""
    await house.emit(container(1, "running", health="unhealthy"), container(2, "running", health="unhealthy"))
    after = await house.restarted_without_docker()
    await after.turn()
    await after.emit(container(1, "running", health="healthy"), gone(2))
    after.clock.advance(1.0)
    await after.act()
    assert after.attempts == []
    assert after.jobs == {}
    await after.stop()


async def test_an_attempt_cut_off_counts_as_made_where_twice_is_more_than_once(house: House) -> None:
    """Killed in mid-restart: the container is not restarted a second time, and audit and messages say so."""
    await house.emit(container(1, "running", health="unhealthy"))
    after = await house.restarted()
    await after.act()
    after.clock.advance(60.0)
    await after.act()
    assert after.attempts == []
    assert after.jobs == {}
    assert after.verdicts("action")[-1] == "failed"
    assert after.messages("action")[-1]["exhausted"] is True
    await after.stop()


async def test_an_attempt_cut_off_is_made_again_where_that_is_safe(tmp_path: Path) -> None:
    """A removal that may have been done already is tried again, and costs no attempt."""
    before = House(tmp_path, DEAD)
    await before.emit(container(1))
    after = await before.restarted()
    await after.act()
    assert after.attempts == [cid(1)]
    await after.stop()


async def test_the_beginning_of_an_attempt_is_durable_before_it_begins(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """The journal knows of the attempt, in a batch that a power failure leaves, when the action is called."""
    batches: list[Batch] = []
    commit = house.journal.commit

    def committing(batch: Batch) -> Any:
        batches.append(batch)
        return commit(batch)

    monkeypatch.setattr(house.journal, "commit", committing)
    await house.emit(container(1, "running", health="unhealthy"))
    assert house.attempts == []
    (kept,) = batches[-1].retries_puts.values()
    assert '"begun": true' in kept
    assert batches[-1].durable
    await settle()
    assert house.attempts == [cid(1)]
    await house.stop()


async def test_in_mode_observe_it_is_said_at_once(tmp_path: Path) -> None:
    """What is only said waits for nothing."""
    before = House(tmp_path, DEAD, Policy(mode="observe"))
    await before.emit(container(1))
    after = await before.restarted_without_docker()
    await after.act()
    assert (after.attempts, after.jobs) == ([], {})
    await after.stop()


class TestLimits:
    def policy(self, **more: Any) -> Policy:
        """Mode act, with these limits on removals."""
        return Policy(mode="act", actions={"remove_container": ActionLimits(**more)})

    async def test_the_cap_of_an_hour_holds_across_restarts(self, tmp_path: Path) -> None:
        """A process that crashes again and again acts no more often than one that does not."""
        house = House(tmp_path, DEAD, self.policy(per_hour=2))
        await house.emit(*(container(number) for number in range(6)))
        await house.act()
        for _ in range(4):
            house.clock.advance(600.0)
            attempts = house.attempts
            house = await house.restarted()
            house.attempts = attempts
            await house.act()
        assert len(house.attempts) == 2
        house.clock.advance(1201.0)
        await house.act()
        assert len(house.attempts) == 4
        await house.stop()

    async def test_a_breaker_stays_open_across_a_restart_no_longer_than_its_pause(self, tmp_path: Path) -> None:
        """What was stopped because it kept failing is not tried anew by every start."""
        house = House(tmp_path, DEAD, self.policy(breaker_failures=2, breaker_pause_s=300))
        house.outcomes = {cid(number): [BUSY] for number in range(2)}
        await house.emit(*(container(number) for number in range(4)))
        await house.act()
        assert house.loop.schedule.breakers_open() == ["remove_container"]
        house.clock.advance(100.0)
        house = await house.restarted()
        await house.act()
        assert (house.attempts, house.loop.schedule.breakers_open()) == ([], ["remove_container"])
        house.clock.advance(201.0)
        await house.act()
        assert len(house.attempts) >= 1
        await house.stop()

    async def test_the_rate_of_a_rule_holds_across_a_restart(self, tmp_path: Path) -> None:
        """No burst at each start."""
        house = House(tmp_path, DEAD.replace(b"retry: {first: 1h", b"rate: 1/60s\n        retry: {first: 1h"))
        await house.emit(container(1), container(2))
        await house.act()
        assert len(house.attempts) == 1
        house.clock.advance(10.0)
        house = await house.restarted()
        await house.act()
        assert house.attempts == []
        house.clock.advance(51.0)
        await house.act()
        assert len(house.attempts) == 1
        await house.stop()

    async def test_limits_that_cannot_be_read_stop_nothing(self, tmp_path: Path) -> None:
        """A damaged value costs the memory of the limits, not the start."""
        house = House(tmp_path, DEAD)
        house.journal.commit(Batch(memory={"limits": "nonsense"}))
        house = await house.restarted()
        await house.emit(container(1))
        await house.act()
        assert house.attempts == [cid(1)]
        await house.stop()


def test_what_is_kept_of_an_hour_is_small() -> None:
    """3,600 attempts make some sixty pairs of numbers, and none counts as older than it is."""
    cap = HourlyCap(3600)
    for second in range(3600):
        cap.take(float(second))
    ages = cap.ages(3600.0)
    assert len(ages) <= 61
    assert sum(count for _, count in ages) in (3599, 3600)
    again = HourlyCap(3600)
    again.restore(ages, 50.0)
    assert again.free_at(50.0) <= 50.0 + 61


def test_a_process_is_not_touched_before_it_was_counted_anew() -> None:
    """A retry of raise_nofile that is due at the start waits for the count, instead of being refused for good."""
    fact = ProcessFiles(at=from_micros(START), pid=42, process="calico-node", open=900, soft_limit=1024)
    untold = Untold([fact])
    asked = {"pid": 42, "limit": 4096}
    assert untold.concern("raise_nofile", asked)
    assert (
        judge(
            ACTIONS["raise_nofile"],
            asked,
            rule="some-rule",
            policy=Policy(mode="act"),
            container=None,
            frozen=False,
            told=False,
        ).kind
        == "wait"
    )
    untold.tell(fact)
    assert not untold.concern("raise_nofile", asked)
