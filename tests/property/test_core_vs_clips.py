"""Joins and `unless`, random, against CLIPS: the same rules fire for the same facts at the same step."""

from collections.abc import Callable

import pytest
from hypothesis import given, settings

from engine.inference.core import Core
from engine.inference.decision import AlertDecision
from engine.inference.joins import Kind
from engine.rules.model import RuleSet
from tests.property.build import at, check, container, event, fact, gone, ref, rule, ruleset
from tests.property.clips_matcher import Clips, Fired
from tests.property.naive import Naive
from tests.property.strategies import Item, joining_rulesets, plain_timelines

Firings = Callable[[Item | None], list[Fired]]
"""What fires with an item; with None: until the end of all timelines. Facts by id, one for each pattern."""

END = 100
"""Seconds; later than any timeline and any life of a fact in it but the hour of an event without a `ttl`."""


def naive_firings(rules: RuleSet) -> Firings:
    """The naive matcher's."""
    naive = Naive(rules)

    def step(item: Item | None) -> list[Fired]:
        said = naive.advance(at(END)) if item is None else naive.step(item)
        return [(one.rule, tuple(ids[0] for ids in one.facts)) for one in said if one.status == "firing"]

    return step


def core_firings(rules: RuleSet, kind: Kind | None = None) -> Firings:
    """The core's."""
    core = Core(rules, combination=kind)

    def step(item: Item | None) -> list[Fired]:
        decided = core.advance(at(END)) if item is None else core.step(item)
        return [(one.rule, one.facts) for one in decided if isinstance(one, AlertDecision) and one.status == "firing"]

    return step


def compare(rules: RuleSet, items: list[Item], firings: Firings) -> int:
    """Hold both to the same firings at every step, each once; how many there were."""
    other = Clips(rules)
    total = 0
    for item in (*items, None):
        expected = other.advance(at(END)) if item is None else other.step(item)
        fired = [(name, tuple(other.version_of(fact_id) for fact_id in ids)) for name, ids in firings(item)]
        assert sorted(fired) == sorted(expected)
        total += len(fired)
    return total


@settings(deadline=None)
@given(joining_rulesets(), plain_timelines())
def test_naive_fires_as_clips_does(rules: RuleSet, items: list[Item]) -> None:
    """The naive matcher agrees with CLIPS on joins, tests, different facts for different patterns, expiry and `unless`."""
    compare(rules, items, naive_firings(rules))


@pytest.mark.parametrize("kind", ["durable-rules", "native"])
@settings(deadline=None)
@given(joining_rulesets(), plain_timelines())
def test_core_fires_as_clips_does(kind: Kind, rules: RuleSet, items: list[Item]) -> None:
    """The core agrees with CLIPS on the same, however it combines."""
    compare(rules, items, core_firings(rules, kind))


def test_comparison_is_about_something() -> None:
    """A join held back by `unless`: CLIPS, the naive matcher and the core fire it once, when what held it back has expired."""
    other = fact("d", "container_event", check("image", ref("c.image")))
    joined = rule("r", fact("c", "container"), other, unless=(fact("u", "container_event", check("action", "kill")),))
    items: list[Item] = [
        container(0, "a", "1", image="x"),
        event(1, "kill", "z", "2", ttl=5),
        event(2, "die", "a", "3", image="x"),
        event(7, "start", "z", "4"),
        gone(8, "a"),
    ]
    for firings in (naive_firings, core_firings):
        assert compare(ruleset(joined), items, firings(ruleset(joined))) == 1
