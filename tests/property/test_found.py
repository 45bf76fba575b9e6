"""What the random comparisons found wrong in the core, each as a small example that stays mended."""

from collections.abc import Sequence

from engine.facts import Fact, Retraction
from engine.facts.timestamps import SECOND
from engine.inference.core import Core
from engine.inference.decision import RetractDecision
from engine.inference.persistence import restore, snapshot
from engine.rules.model import AssertEffect, CountPattern, MissingPattern, RetractEffect, Rule, Template
from tests.property.build import at, check, container, event, fact, gone, ref, rule, ruleset
from tests.property.said import status_of


def decided(rules: Rule, items: Sequence[Fact | Retraction]) -> list[tuple[float, str]]:
    """Seconds, and what: the status of an alert, or what else is done."""
    core = Core(ruleset(rules))
    return [((one.at - at(0)) / SECOND, status_of(one) or one.does) for item in items for one in core.step(item)]


def test_count_of_a_state_seen_again_goes_on_holding() -> None:
    """An update that only moves a counted state's time lets the count neither fall nor fire anew."""
    counted = rule("r", CountPattern("n", "container", (), (("id",),), 2 * SECOND, 1))
    assert decided(counted, [container(0, "a", "1"), container(1, "a", "2")]) == [(0, "firing")]


def test_late_update_that_is_over_ends_what_it_replaces() -> None:
    """An update that comes when its own time is over takes the older fact away: in order it would have done the same."""
    items = [container(0, "a", "1"), event(5, "die", "b", "2"), container(1, "a", "3", ttl=2)]
    assert decided(rule("r", fact("c", "container")), items) == [(0, "firing"), (5, "resolved")]


def test_fact_is_taken_back_once() -> None:
    """Two effects that take back the same fact are one retraction."""
    twice = rule("r", fact("c", "container"), then=(RetractEffect(binding="c"), RetractEffect(binding="c")))
    assert decided(twice, [container(0, "a", "1")]) == [(0, "retract")]


def test_retract_by_kind_takes_states_only() -> None:
    """`retract` of a kind takes back state facts; what happened stays."""
    named = rule("r", fact("c", "container"), then=(RetractEffect(kind="container_event", fields=(("image", "x"),)),))
    seen = rule("s", fact("e", "container_event"))
    core = Core(ruleset(named, seen))
    said = [one for item in (event(0, "die", "a", "1", image="x"), container(1, "a", "2")) for one in core.step(item)]
    assert [(one.rule, status_of(one) or one.does) for one in said] == [("s", "firing")]


def test_late_sight_of_what_stays_missing_fires_nothing_anew() -> None:
    """An event that comes late, from before the time that counts, leaves the thing as missing as it was."""
    quiet = rule("r", MissingPattern("m", "container_event", (), SECOND))
    items = [container(0, "a", "0"), container(3, "a", "1"), event(1, "die", "a", "2")]
    assert decided(quiet, items) == [(1, "firing")]


def test_absent_differs_from_absent() -> None:
    """`ne` is the opposite of `eq` also for fields that are not there: nothing is equal to nothing."""
    items = [container(0, "a", "1"), container(0, "b", "2")]
    same = fact("d", "container", check("exit_code", ref("c.exit_code"), op="eq"))
    other = fact("d", "container", check("exit_code", ref("c.exit_code"), op="ne"))
    assert decided(rule("r", fact("c", "container"), same), items) == []
    assert decided(rule("r", fact("c", "container"), other), items) == [(0, "firing"), (0, "firing")]


def test_alert_raised_anew_in_its_last_moment_keeps_its_support() -> None:
    """`resolve_after` counts from the last firing, also from one at the very moment at which it would have been over."""
    held = rule("r", fact("e", "container_event"), hold=SECOND, resolve_after=2 * SECOND)
    core = Core(ruleset(held))
    items = [event(0, "die", "a", "1"), event(2, "die", "b", "2", ttl=2)]
    said = [one for item in items for one in core.step(item)] + core.advance(at(9))
    assert [((one.at - at(0)) / SECOND, status_of(one)) for one in said] == [(1, "firing"), (3, "firing"), (5, "resolved")]


def test_nothing_is_missing_from_before_the_start() -> None:
    """A late event from before the first moment of the clock does not move the time from which something is missing."""
    quiet = rule("r", MissingPattern("m", "container_event", (), SECOND))
    items = [container(1, "a", "0"), event(0, "die", "a", "1"), container(2, "a", "2")]
    assert decided(quiet, items) == [(2, "firing")]


def test_what_ends_at_one_moment_comes_by_priority_and_place() -> None:
    """Alerts that resolve, and facts withdrawn, at one moment: higher priority first, then place in the file; not by name."""
    supported = (AssertEffect("d", (("image", Template(("low",))),), while_supported=True),)
    first = (AssertEffect("d", (("image", Template(("high",))),), while_supported=True),)
    rules = ruleset(
        rule("z", fact("c", "container")),
        rule("a", fact("c", "container")),
        rule("m", fact("c", "container"), priority=1),
        rule("low", fact("c", "container"), then=supported),
        rule("high", fact("c", "container"), then=first, priority=1),
        declared=frozenset({"d"}),
    )
    core = Core(rules)
    core.step(container(0, "x", "1"))
    assert [one.rule for one in core.step(gone(1, "x"))] == ["high", "low", "m", "z", "a"]


def test_what_a_rule_ended_by_itself_is_withdrawn_in_the_order_of_its_effects() -> None:
    """A rule that takes back what it stands on leaves nothing, in the order in which it asserted."""
    names = [f"n{n}" for n in range(8)]
    then = (
        *(AssertEffect("d", (("image", Template((name,))),), while_supported=True) for name in names),
        RetractEffect(binding="c"),
    )
    core = Core(ruleset(rule("r", fact("c", "container"), then=then), declared=frozenset({"d"})))
    said = core.step(container(0, "x", "1"))
    withdrawn = [one.fact.identity[1] for one in said if isinstance(one, RetractDecision) and one.fact.fact_kind == "d"]
    assert withdrawn == [f"image={name!r}" for name in names]


def test_missing_with_a_reference_lets_nothing_equal_nothing() -> None:
    """A field that is absent in both is not seen, as a join of the two would not be one."""
    quiet = MissingPattern("m", "container_event", (check("exit_code", ref("c.exit_code"), op="eq"),), 2 * SECOND)
    items = [container(0, "a", "0"), event(1, "die", "a", "1"), container(2, "b", "2", exit_code=0)]
    assert decided(rule("r", fact("c", "container"), quiet), items) == [(2, "firing"), (2, "firing")]


def test_what_is_counted_late_leaves_in_time() -> None:
    """An event that comes late leaves its window when its own time is over, and a restart finds what the process had."""
    counted = ruleset(rule("r", CountPattern("n", "container_event", (), (), 6 * SECOND, 1)))
    core = Core(counted)
    for item in (event(1, "die", "a", "1"), event(0, "die", "a", "2"), event(6, "die", "a", "3")):
        core.step(item)
    assert snapshot(restore(counted, snapshot(core))).keys() == snapshot(core).keys()
