"""The host's clock is set, by hours, in either direction: nothing is missed, nothing falls due by it, nothing resolves."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from engine.facts import Retraction
from engine.facts.docker import Container, ContainerEvent
from engine.facts.timestamps import SECOND, from_micros
from engine.pipeline.intake import OperatorCommand
from tests.unit.pipeline.loop import DEAD, House, container
from tests.unit.pipeline.support import BUSY, cid

TIMED = (
    DEAD
    + b"""
  - rule: dead-for-long
    title: Dead for ten minutes
    severity: warning
    when:
      dead: {fact: container, status: dead}
    for: 10m
    key: "long {dead.id}"
    then:
      - alert: "it stays dead"
  - rule: oom
    title: Killed for memory
    severity: warning
    when:
      oom: {fact: container_event, action: oom}
    resolve_after: 10m
    key: "oom {oom.id}"
    then:
      - alert: "killed"
  - rule: silent
    title: Nothing is started any more
    severity: warning
    when:
      nothing: {missing: {fact: container_event, action: start}, for: 10m}
    key: "silent"
    then:
      - alert: "nothing was started"
  - rule: three
    title: Three exits in ten minutes
    severity: warning
    when:
      died: {count: {fact: container_event, action: die}, within: 10m, at_least: 3}
    key: "three"
    then:
      - alert: "three died"
"""
)
STEPS = [-30 * 86_400.0, -3600.0, -60.0, 60.0, 3600.0, 400 * 86_400.0]


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    """A sidecar with rules that look at time in every way."""
    house = House(tmp_path, TIMED)
    house.outcomes[cid(1)] = [BUSY, BUSY]
    yield house
    await house.writer.close()


def event(house: House, action: str, number: int) -> ContainerEvent:
    """Something that happens now."""
    return ContainerEvent(at=from_micros(house.clock.at), action=action, id=cid(number), fact_id=f"{action}{number}")


def now(house: House, fact: Container) -> Container:
    """As it is seen now."""
    return fact.model_copy(update={"at": from_micros(house.clock.at)})


@pytest.mark.parametrize("step", STEPS)
async def test_what_was_to_take_ten_minutes_takes_ten_minutes(house: House, step: float) -> None:
    """`for`, `resolve_after`, `missing` and a window go on over the step: five minutes before it, five after it."""
    await house.emit(
        container(1), event(house, "oom", 2), event(house, "start", 3), event(house, "die", 4), event(house, "die", 5)
    )
    assert house.alerts() == [("firing", cid(1)), ("firing", f"oom {cid(2)}")]
    house.clock.advance(300)
    await house.set_clock(step)
    house.clock.advance(290)
    await house.turn()
    assert house.alerts()[2:] == []
    await house.emit(event(house, "die", 6))
    assert house.alerts()[2:] == [("firing", "three")]
    house.clock.advance(10)
    await house.turn()
    assert sorted(house.alerts()[3:]) == [
        ("firing", f"long {cid(1)}"),
        ("firing", "silent"),
        ("resolved", f"oom {cid(2)}"),
        ("resolved", "three"),
    ]


@pytest.mark.parametrize("step", STEPS)
async def test_what_happens_afterwards_is_seen(house: House, step: float) -> None:
    """A container that is read after the step is newer than what was known; one that is gone is gone."""
    await house.emit(container(1))
    await house.set_clock(step)
    await house.emit(now(house, container(1, "exited")), now(house, container(2)))
    assert house.alerts()[1:] == [("resolved", cid(1)), ("firing", cid(2))]
    await house.emit(Retraction(retract="container", key=cid(2), at=from_micros(house.clock.at)))
    await house.act()
    assert house.alerts()[3:] == [("resolved", cid(2))]


@pytest.mark.parametrize("step", STEPS)
async def test_a_retry_and_a_silence_keep_their_length(house: House, step: float) -> None:
    """The retry of in an hour is tried in an hour, and the silence of an hour ends with it."""
    await house.emit(container(1))
    await house.act()
    await house.intake.put(OperatorCommand("silence", rule="dead-container", seconds=3600.0))
    await house.turn()
    await house.set_clock(step)
    house.clock.advance(3590)
    await house.emit(now(house, container(2)))
    await house.act()
    assert house.attempts == [cid(1), cid(2)]
    assert [key for _, key in house.alerts() if key == cid(2)] == []
    house.clock.advance(10)
    await house.act()
    assert house.attempts == [cid(1), cid(2), cid(1)]
    assert [alert for alert in house.alerts() if alert[1] == cid(2)] == [("firing", cid(2))]


@pytest.mark.parametrize("step", STEPS)
async def test_a_death_right_after_the_step_loses_nothing_of_it(house: House, step: float) -> None:
    """What moved is in the journal as it moved: the restart goes on by the new time."""
    await house.emit(container(1), event(house, "oom", 2))
    await house.act()
    await house.set_clock(step)
    after = await house.restarted()
    assert after.loop.core.now <= after.clock.wall()
    after.clock.advance(590)
    await after.turn()
    assert after.alerts()[2:] == []
    after.clock.advance(10)
    await after.turn()
    assert ("resolved", f"oom {cid(2)}") in after.alerts()
    (job,) = after.jobs.values()
    assert job.due - after.clock.wall() == (3600 - 600) * SECOND
    await after.writer.close()


@pytest.mark.parametrize("step", STEPS)
async def test_a_step_before_anything_happened_moves_nothing(house: House, step: float) -> None:
    """A machine that learns the time right after its start."""
    await house.set_clock(step)
    await house.emit(now(house, container(1)))
    assert house.alerts() == [("firing", cid(1))]
