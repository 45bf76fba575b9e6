"""The naive matcher against examples worked out by hand: it judges the core, so it has to be right itself."""

from collections.abc import Sequence

from engine.facts import Fact, Retraction
from engine.facts.timestamps import SECOND
from engine.rules.model import (
    AlertEffect,
    AssertEffect,
    CountPattern,
    DoEffect,
    MissingPattern,
    Ref,
    RetractEffect,
    Rule,
    Template,
)
from tests.property.build import at, check, container, event, fact, gone, ref, rule, ruleset, template
from tests.property.naive import Naive
from tests.property.said import Said

DEAD = fact("c", "container", check("status", "dead"))


def received(rules: list[Rule], items: Sequence[Fact | Retraction], until: float = 0) -> list[tuple[float, str, str, str]]:
    """What is decided: seconds, rule, what (status of an alert, or else what it does), key."""
    naive = Naive(ruleset(*rules))
    said = [one for item in items for one in naive.step(item)] + (naive.advance(at(until)) if until else [])
    return [_short(one) for one in said]


def _short(said: Said) -> tuple[float, str, str, str]:
    return ((said.at - at(0)) / SECOND, said.rule, said.status or said.does, said.key)


def test_alert_fires_and_resolves_with_its_fact() -> None:
    """An alert fires when the fact comes, and resolves when an update ends the match."""
    items = [container(1, "a", "1", status="dead"), container(3, "a", "2", status="exited")]
    assert received([rule("r", DEAD, key="c.id")], items) == [(1, "r", "firing", "a"), (3, "r", "resolved", "a")]


def test_update_that_changes_nothing_used_is_no_new_fact() -> None:
    """Only an update of a field that the rule tests or uses makes it fire again, and then without a resolved in between."""
    items = [
        container(1, "a", "1", status="dead", image="x"),
        container(2, "a", "2", status="dead", image="x", name="n"),
        container(3, "a", "3", status="dead", image="y", name="n"),
    ]
    then = (AlertEffect(template("c.image")),)
    assert received([rule("r", DEAD, then=then)], items) == [(1, "r", "firing", ""), (3, "r", "firing", "")]


def test_older_update_is_ignored() -> None:
    """An update from before the fact that is held changes nothing."""
    items = [container(3, "a", "1", status="dead"), container(2, "a", "2", status="exited")]
    assert received([rule("r", DEAD)], items) == [(3, "r", "firing", "")]


def test_two_patterns_never_bind_the_same_fact() -> None:
    """A join of a kind with itself takes two facts, in both orders."""
    two = rule("r", fact("c", "container"), fact("d", "container", check("image", ref("c.image"))), key="c.id d.id")
    items = [container(1, "a", "1", image="x"), container(2, "b", "2", image="x"), container(3, "c", "3", image="y")]
    assert received([two], items) == [(2, "r", "firing", "a b"), (2, "r", "firing", "b a")]


def test_event_expires_at_the_moment_its_time_is_over() -> None:
    """A fact lives in [at, at + ttl): at its end it is gone before a fact of that moment comes."""
    both = rule("r", fact("e", "container_event", check("action", "die")), fact("o", "container_event", check("action", "oom")))
    late = [event(1, "die", "a", "1", ttl=2), event(3, "oom", "a", "2")]
    assert received([both], late) == []
    in_time = [event(1, "die", "a", "1", ttl=2), event(2.999999, "oom", "a", "2")]
    assert received([both], in_time, until=3) == [(2.999999, "r", "firing", ""), (3, "r", "resolved", "")]


def test_event_held_already_is_ignored() -> None:
    """The same event again does not renew its life."""
    once = rule("r", fact("e", "container_event"))
    items = [event(1, "die", "a", "1", ttl=3), event(2, "die", "a", "1", ttl=30)]
    assert received([once], items, until=9) == [(1, "r", "firing", ""), (4, "r", "resolved", "")]


def test_hold_is_not_restarted_by_updates_that_keep_the_match() -> None:
    """`for` runs from the beginning of the match; a break starts it anew."""
    held = rule("r", DEAD, key="c.image", hold=5 * SECOND)
    kept = [container(1, "a", "1", status="dead"), container(4, "a", "2", status="dead", image="y")]
    assert received([held], kept, until=20) == [(6, "r", "firing", "y")]
    broken = [*kept[:1], container(4, "a", "2", status="exited"), container(5, "a", "3", status="dead")]
    assert received([held], broken, until=20) == [(10, "r", "firing", "")]


def test_count_holds_until_it_falls_below() -> None:
    """A count fires with the fact that fills it, not again while it holds, resolves by time, and may fire anew after that."""
    storm = rule("r", CountPattern("s", "container_event", (), (("image",),), 10 * SECOND, 3), key="s.image")
    items = [event(second, "create", str(second), str(second), image="x") for second in (0, 4, 8, 9, 30, 31, 32)]
    assert received([storm], items) == [
        (8, "r", "firing", "x"),
        (14, "r", "resolved", "x"),
        (32, "r", "firing", "x"),
    ]


def test_count_is_by_event_time() -> None:
    """A late fact counts where it belongs; one that is older than the window does not count."""
    storm = rule("r", CountPattern("s", "container_event", (), (), 5 * SECOND, 2))
    assert received([storm], [event(10, "die", "a", "1"), event(5, "die", "a", "2")]) == []
    assert received([storm], [event(10, "die", "a", "1"), event(5.000001, "die", "a", "2")]) == [(10, "r", "firing", "")]


def test_missing_counts_from_the_last_sight() -> None:
    """`missing` elapses from the first moment, or from the last such fact; a state is seen for as long as it lives."""
    quiet = rule("r", MissingPattern("m", "container_event", (), 5 * SECOND))
    items = [container(0, "a", "0"), event(3, "die", "a", "1"), event(10, "die", "a", "2")]
    assert received([quiet], items) == [(8, "r", "firing", ""), (10, "r", "resolved", "")]
    absent = rule("r", MissingPattern("m", "container", (), 5 * SECOND))
    assert received([absent], [container(1, "a", "1"), gone(20, "a")], until=30) == [(25, "r", "firing", "")]


def test_unless_holds_back_and_takes_nothing_back() -> None:
    """While `unless` matches the rule waits; it fires when that ends; one that appears later changes nothing."""
    held_back = rule("r", DEAD, key="c.id", unless=(fact("", "container_event", check("action", "kill")),))
    items = [event(0, "kill", "z", "0", ttl=5), container(1, "a", "1", status="dead"), event(6, "kill", "z", "2", ttl=1)]
    assert received([held_back], items, until=9) == [(5, "r", "firing", "a")]


def test_unless_may_refer_to_the_match() -> None:
    """A reference in `unless` looks at what the match bound."""
    other = rule("r", DEAD, key="c.id", unless=(fact("", "container_event", check("id", Ref("c", ("id",)))),))
    items = [event(0, "kill", "a", "0"), container(1, "a", "1", status="dead"), container(2, "b", "2", status="dead")]
    assert received([other], items) == [(2, "r", "firing", "b")]


def test_asserted_fact_chains_and_goes_with_its_support() -> None:
    """A fact that one rule asserts fires another at the same moment, whatever their order, and goes with its support."""
    second = rule("second", fact("f", "found"), key="f.image")
    values = (("image", Ref("c", ("image",))),)
    first = rule("first", DEAD, then=(AssertEffect("found", values, while_supported=True),))
    items = [container(1, "a", "1", status="dead", image="x"), container(2, "b", "2", status="dead", image="x")]
    items += [container(3, "a", "3", status="exited"), container(4, "b", "4", status="exited")]
    assert received([second, first], items) == [
        (1, "first", "assert", ""),
        (1, "second", "firing", "x"),
        (2, "first", "assert", ""),
        (4, "first", "retract", ""),
        (4, "second", "resolved", "x"),
    ]


def test_asserted_again_renews_its_life_and_nothing_else() -> None:
    """A declared fact asserted again lives on; rules that it fired do not fire again."""
    assertion = AssertEffect("found", (), ttl=5 * SECOND)
    first = rule("first", fact("e", "container_event"), then=(assertion,))
    items = [event(0, "die", "a", "1"), event(3, "die", "a", "2")]
    assert received([first, rule("second", fact("f", "found"))], items, until=20) == [
        (0, "first", "assert", ""),
        (0, "second", "firing", ""),
        (3, "first", "assert", ""),
        (8, "second", "resolved", ""),
    ]


def test_alert_of_two_supporters_resolves_with_the_last() -> None:
    """One alert per key: it is firing while one of its matches lives."""
    items: list[Fact | Retraction] = [
        container(1, "a", "1", status="dead"),
        container(2, "b", "2", status="dead"),
        gone(3, "a"),
        gone(4, "b"),
    ]
    assert received([rule("r", DEAD)], items) == [(1, "r", "firing", ""), (2, "r", "firing", ""), (4, "r", "resolved", "")]


def test_alert_resolves_after_its_time() -> None:
    """`resolve_after` counts from the last firing."""
    items: list[Fact | Retraction] = [container(1, "a", "1", status="dead"), container(3, "b", "2", status="dead"), gone(20, "a")]
    assert received([rule("r", DEAD, resolve_after=5 * SECOND)], items) == [
        (1, "r", "firing", ""),
        (3, "r", "firing", ""),
        (8, "r", "resolved", ""),
    ]


def test_alert_is_a_fact() -> None:
    """Another rule may depend on an alert, and on its end."""
    over = rule("over", fact("x", "alert", check("rule", "r"), check("status", "resolved")), key="x.key")
    items: list[Fact | Retraction] = [container(1, "a", "1", status="dead"), gone(2, "a")]
    assert received([over, rule("r", DEAD, key="c.id")], items) == [
        (1, "r", "firing", "a"),
        (2, "r", "resolved", "a"),
        (2, "over", "firing", "a"),
    ]


def test_priority_before_place() -> None:
    """At one moment the higher priority fires first, then the earlier place in the file, then the fact that entered first."""
    waits = fact("", "container_event")
    rules = [
        rule(name, DEAD, key="c.id", priority=priority, unless=(waits,)) for name, priority in (("p", 0), ("q", 0), ("z", 9))
    ]
    items = [event(0, "die", "x", "0", ttl=9), container(1, "b", "1", status="dead"), container(2, "a", "2", status="dead")]
    assert received(rules, items, until=9) == [
        (9, "z", "firing", "b"),
        (9, "z", "firing", "a"),
        (9, "p", "firing", "b"),
        (9, "p", "firing", "a"),
        (9, "q", "firing", "b"),
        (9, "q", "firing", "a"),
    ]


def test_retract_takes_back_what_was_bound_or_named() -> None:
    """`retract` ends the match of what it takes back, and with it what that supported."""
    bound = rule("r", DEAD, then=(AlertEffect(Template(("!",))), RetractEffect(binding="c")))
    assert received([bound], [container(1, "a", "1", status="dead")]) == [
        (1, "r", "firing", ""),
        (1, "r", "retract", ""),
        (1, "r", "resolved", ""),
    ]
    named = rule("r", fact("e", "container_event"), then=(RetractEffect(kind="container", fields=(("image", "x"),)),))
    items = [container(0, "a", "1", image="x"), container(0, "b", "2", image="y"), event(1, "die", "a", "3")]
    assert received([named], items) == [(1, "r", "retract", "")]


def test_action_gets_its_parameters() -> None:
    """An action carries what its references say at the moment of firing."""
    does = rule("r", DEAD, then=(DoEffect("remove_container", (("container", ref("c.id")),)),))
    said = Naive(ruleset(does)).step(container(1, "a", "1", status="dead"))
    assert [(one.action, one.params, one.facts) for one in said] == [("remove_container", (("container", "a"),), (("1",),))]


def test_what_comes_too_late_never_lives() -> None:
    """A fact whose life is over when it comes is none."""
    items = [event(9, "die", "a", "1"), event(1, "oom", "a", "2", ttl=8)]
    assert received([rule("r", fact("e", "container_event", check("action", "oom")))], items) == []
