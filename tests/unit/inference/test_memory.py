"""Working memory stays within bounds, whatever comes; and what is over goes at its moment, without a timer for each fact."""

import random
import time

from engine.facts.docker import Container
from engine.facts.timestamps import SECOND, from_micros
from engine.inference.change_log import ChangeLog
from engine.inference.core import Core
from engine.inference.decision import AlertDecision, RetractDecision
from engine.inference.items import FactItem, item_of
from engine.inference.memory import Bounds, WorkingMemory
from engine.inference.persistence import restore
from engine.rules.model import AssertEffect, MissingPattern, Ref
from tests.property.build import at, check, container, event, fact, gone, ref, rule, ruleset

SEEN = ruleset(rule("r", fact("e", "container_event"), key="e.id"))
"""One alert a container, for any of its events."""


def held(core: Core) -> list[str]:
    """Ids of the events that are held, oldest first."""
    return [item.fact.fact_id for item in core.memory.of_kind("container_event")]


def test_a_kind_has_a_bound_and_the_oldest_go() -> None:
    """What went is counted by kind and bound; the newest are all there."""
    core = Core(SEEN, bounds=Bounds(per_kind=100))
    for number in range(1_000):
        core.step(event(number, "die", f"c{number}", f"e{number}"))
        assert len(held(core)) <= 100
    assert held(core)[-90:] == [f"e{number}" for number in range(910, 1_000)]
    (dropped,) = core.status()["dropped"]
    assert dropped == {"kind": "container_event", "bound": "per_kind", "count": 1_000 - len(held(core))}


def test_a_container_has_a_bound_and_leaves_the_others_alone() -> None:
    """One that is killed thirty thousand times: its alert goes on, a quiet one's too, and memory is flat."""
    core = Core(SEEN, bounds=Bounds(per_container=200))
    core.step(event(0, "die", "quiet", "q"))
    for number in range(30_000):
        core.step(event(1 + number / 100, "oom", "noisy", f"e{number}"))
    assert held(core)[0] == "q"
    assert len(held(core)) <= 201
    assert core.status()["matches"] <= 201
    assert all(core.alerts.states["r", name].firing for name in ("quiet", "noisy"))
    assert core.memory.dropped.keys() == {("container_event", "per_container")}


def test_all_events_together_have_a_bound() -> None:
    """Across kinds and containers; states are not counted, and stay."""
    core = Core(SEEN, bounds=Bounds(total=64))
    for number in range(500):
        core.step(event(number, "die", f"c{number}", f"e{number}"))
        core.step(container(number, f"c{number}", f"s{number}"))
    assert len(held(core)) <= 64
    assert len(list(core.memory.of_kind("container"))) == 500
    assert core.memory.dropped.keys() == {("container_event", "total")}


def test_the_alert_of_what_went_for_want_of_room_is_resolved() -> None:
    """An alert lives on facts: one whose facts had to go does not fire for ever."""
    core = Core(SEEN, bounds=Bounds(per_kind=1))
    core.step(event(0, "die", "a", "1"))
    decided = core.step(event(1, "die", "b", "2"))
    assert [(one.key, one.status) for one in decided if isinstance(one, AlertDecision)] == [("b", "firing"), ("a", "resolved")]


def test_what_is_over_goes_in_the_order_of_time() -> None:
    """To the microsecond, whatever the order in which it came; and never before."""
    memory, rng = WorkingMemory(ChangeLog(enabled=False)), random.Random(3)
    due: list[int] = []
    for number in range(2_000):
        seconds = rng.choice((1, 2, 3)) + rng.random() * 5
        item = item_of(event(seconds, "die", "a", f"e{number}", ttl=rng.choice((1, 1.5, 7))), number)
        memory.add(item)
        due.append(item.expires or 0)
    went: list[FactItem] = []
    while (next_due := memory.next_expiry) is not None:
        now = list(memory.expired(next_due))
        assert now
        assert {item.expires for item in now} == {next_due}
        for item in now:
            memory.discard(item)
        went += now
    assert [item.expires for item in went] == sorted(due)
    assert len(memory) == 0


def test_a_state_told_again_and_again_leaves_no_trail() -> None:
    """A probe's fact with a ttl, updated each second for a day: its earlier ends are forgotten, its last one counts."""
    core = Core(SEEN)
    for number in range(20_000):
        core.step(container(number, "a", f"s{number}", ttl=86_400))
    assert core.memory.waiting < 2_000
    assert core.advance(at(19_999 + 86_399)) == []
    assert len(core.memory) == 1
    core.advance(at(19_999 + 86_400))
    assert len(core.memory) == 0


def test_what_is_missing_for_a_day_has_one_timer_a_match() -> None:
    """Two hundred thousand sights in a day are two hundred thousand times the same question."""
    quiet = ruleset(rule("q", MissingPattern("m", "container_event", (), 86_400 * SECOND)))
    core = Core(quiet, keep_changes=False)
    for number in range(5_000):
        core.step(event(number, "die", "a", f"e{number}"))
    assert core.clock.waiting <= 2
    assert core.advance(at(4_999 + 86_399)) == []
    assert len(core.advance(at(4_999 + 86_400))) == 1


def test_what_was_over_while_the_process_was_down_does_not_come_back() -> None:
    """Expired facts are not restored, and their rows go."""
    core = Core(SEEN)
    core.step(event(0, "die", "a", "1", ttl=10))
    core.step(event(5, "die", "b", "2"))
    entries = core.drain_changes().puts
    clock = entries["clock", "clock"]
    entries["clock", "clock"] = clock.replace(str(at(5)), str(at(60)))
    back = restore(SEEN, entries)
    assert held(back) == ["2"]
    assert [section for section, _ in back.drain_changes().deletes if section == "fact"] == ["fact"]


def test_get_finds_what_was_added() -> None:
    """By the identity that the fact has; a state's item stays from one update to the next."""
    core = Core(SEEN)
    core.step(container(0, "a", "1"))
    item = core.memory.get(("container", "a"))
    core.step(container(1, "a", "2", status="dead"))
    assert core.memory.get(("container", "a")) is item
    assert item is not None
    assert isinstance(item.fact, Container)
    assert item.fact.status == "dead"
    core.step(gone(2, "a"))
    assert core.memory.get(("container", "a")) is core.memory.get(("container", "b")) is core.memory.get(("x", "a")) is None
    assert from_micros(at(2)) == from_micros(core.now)


def test_thousands_of_facts_that_lose_their_support_together_go_in_time() -> None:
    """Each is looked at once: two thousand in one moment took two million looks."""
    kept = (AssertEffect("d", (("image", Ref("c", ("id",))),), while_supported=True),)
    given = rule("r", fact("c", "container", check("image", ref("i.image"))), fact("i", "container_event"), then=kept)
    core = Core(ruleset(given, declared=frozenset({"d"})), keep_changes=False)
    core.step(event(0, "die", "x", "e", image="a", ttl=10))
    for number in range(2_000):
        core.step(container(1, f"c{number:04}", f"s{number}", image="a"))
    started = time.process_time()
    decided = core.advance(at(10))
    assert [one.fact.identity[1] for one in decided if isinstance(one, RetractDecision)] == [
        f"image='c{number:04}'" for number in range(2_000)
    ]
    assert time.process_time() - started < 2
