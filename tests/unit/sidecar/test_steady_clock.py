"""A clock that nobody can set: what it follows, what it calls a step, and what is done about one."""

import asyncio
from typing import Any

import pytest

from engine.facts.host import Source
from engine.facts.timestamps import SECOND, Micros
from engine.pipeline.intake import ClockStepped, FromSource, Intake, JournalNote
from engine.sidecar.steady_clock import CALM_S, MAX_SLEW, MEMORY, SteadyClock, watch_clock
from tests.clocks import FixedClock
from tests.unit.pipeline.support import START, settle

HOUR = 3600 * SECOND


def pair() -> tuple[FixedClock, SteadyClock]:
    """A machine's clock, and the steady one over it."""
    machine = FixedClock(START)
    return machine, SteadyClock(machine)


@pytest.mark.parametrize("step", [HOUR, -HOUR, 365 * 24 * HOUR, -3 * SECOND])
def test_a_step_moves_nothing_until_it_is_taken_and_then_all_of_it(step: Micros) -> None:
    """Taken once; afterwards the clock goes by the machine's."""
    machine, clock = pair()
    machine.advance(10)
    machine.at += step
    assert clock.wall() == START + 10 * SECOND
    assert clock.take_step() == step
    assert clock.take_step() == 0
    assert clock.wall() == machine.wall()
    machine.advance(5)
    assert clock.wall() == machine.wall()


@pytest.mark.parametrize("difference", [MAX_SLEW, -MAX_SLEW, SECOND // 10])
def test_a_small_difference_is_followed_slowly_and_the_clock_never_goes_back(difference: Micros) -> None:
    """A time daemon's corrections are no event, and no fact is older than the one before it for their sake."""
    machine, clock = pair()
    machine.at += difference
    before = clock.wall()
    for _ in range(40):
        machine.advance(1)
        assert clock.take_step() == 0
        assert before < clock.wall()
        before = clock.wall()
    assert clock.wall() == machine.wall()


def test_what_was_set_while_no_sidecar_ran_shows_within_one_run_of_the_machine() -> None:
    """By the difference to monotonic time, in both directions; a pause of the sidecar alone is no step."""
    machine, clock = pair()
    saved = clock.to_json("boot")
    machine.advance(7200)
    newest = clock.wall()
    assert SteadyClock(machine).step_since(saved, "boot", newest) == 0
    for step in (HOUR, -HOUR):
        other = FixedClock(machine.at + step, machine.seconds)
        assert SteadyClock(other).step_since(saved, "boot", newest) == step


@pytest.mark.parametrize("saved", [None, "", "{", "7", '{"boot": "boot"}', '{"boot": "other", "offset": 5}'])
def test_across_a_reboot_only_facts_from_the_future_show_it(saved: str | None) -> None:
    """The clock must not stand before what was seen already; that it stands after it is what a pause looks like."""
    machine, clock = pair()
    machine.advance(1)
    assert clock.step_since(saved, "boot", newest=START + HOUR) == SECOND - HOUR
    assert clock.step_since(saved, "boot", newest=START - HOUR) == 0
    assert clock.step_since(saved, "boot", newest=0) == 0


class _Machine(FixedClock):
    """Time passes when the test says so: `sleep` waits for it."""

    def __init__(self, at: Micros) -> None:
        super().__init__(at)
        self.slept = asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        self.slept.clear()
        await self.slept.wait()
        self.advance(seconds)


async def test_a_step_is_a_gap_for_a_minute_and_everything_follows_it_first() -> None:
    """The sources, then the loop, before any further fact; the journal remembers it; afterwards the source is ok."""
    machine = _Machine(START)
    clock, intake = SteadyClock(machine), Intake("h1")
    stepped: list[Micros] = []
    await intake.sink("docker").put([], cursor="waits")
    task = asyncio.create_task(watch_clock(clock, intake, stepped.append, boot="b"), name="clock")
    await settle()
    machine.at -= HOUR
    machine.slept.set()
    await settle()
    first, *rest = await intake.take(100, 1.0)
    assert (stepped, first) == ([-HOUR], ClockStepped(-HOUR))
    notes = [entry.memory for entry in rest if isinstance(entry, JournalNote)]
    assert [MEMORY in note for note in notes] == [True, True]
    assert notes[0] != notes[1]
    assert [(one.status, one.error) for one in _sources(rest)] == [("gap", "the clock of this host was set back by 1h")]
    for _ in range(round(CALM_S) + 1):
        machine.slept.set()
        await settle()
    assert [one.status for one in _sources(await intake.take(100, 1.0))] == ["ok"]
    task.cancel()
    await asyncio.wait({task}, timeout=1.0)


def _sources(entries: list[Any]) -> list[Source]:
    return [fact for entry in entries if isinstance(entry, FromSource) for fact in entry.facts if isinstance(fact, Source)]
