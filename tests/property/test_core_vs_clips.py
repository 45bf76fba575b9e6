"""Joins and `unless`, random, against CLIPS: the same rules fire for the same facts at the same step."""

from collections.abc import Callable

from hypothesis import given, settings

from engine.rules.model import RuleSet
from tests.property.build import at
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
