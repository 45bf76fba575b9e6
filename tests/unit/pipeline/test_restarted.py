"""What a restart finds: nothing is changed on facts of before, and an attempt that was cut off is known."""

from pathlib import Path
from typing import Any

import pytest

from engine.facts.host import Source
from engine.facts.timestamps import from_micros
from engine.guardrails import Policy
from engine.journal.records import Batch
from tests.unit.pipeline.loop import DEAD, House, container, gone
from tests.unit.pipeline.support import START, cid, settle

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
