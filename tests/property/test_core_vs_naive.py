"""Random rules over random timelines: the core decides what the naive matcher decides, step by step."""

import pytest
from hypothesis import given, settings

from engine.inference.core import Core
from engine.inference.decision import ActionDecision, AlertDecision, AssertDecision, Decision, RetractDecision
from engine.inference.joins import Kind
from engine.rules.model import RuleSet
from tests.property.build import at
from tests.property.naive import Naive
from tests.property.said import Said
from tests.property.strategies import Item, rulesets, timelines

KINDS: tuple[Kind, ...] = ("durable-rules", "native")

END = 60
"""Seconds; by then every window, `for`, `missing` and `resolve_after` of a timeline has run out."""


def core_says(decision: Decision) -> tuple[object, ...]:
    """What is compared of a decision of the core."""
    head = (decision.at, decision.rule, decision.key, decision.does)
    match decision:
        case AlertDecision(status=status):
            return (*head, status, None, (), None)
        case ActionDecision(action=action, params=params):
            return (*head, None, action, tuple(sorted(params.items())), None)
        case AssertDecision(fact=fact) | RetractDecision(fact=fact):
            return (*head, None, None, (), "|".join(fact.identity))


def naive_says(said: Said) -> tuple[object, ...]:
    """The same of the naive matcher's."""
    fact = None if said.fact is None else "|".join(str(part) for part in said.fact)
    return (said.at, said.rule, said.key, said.does, said.status, said.action, tuple(sorted(said.params)), fact)


def compare(decided: list[Decision], said: list[Said]) -> None:
    """Same decisions in the same order."""
    assert [core_says(one) for one in decided] == [naive_says(one) for one in said]


@pytest.mark.parametrize("kind", KINDS)
@settings(deadline=None)
@given(rulesets(), timelines())
def test_core_decides_as_the_naive_matcher_does(kind: Kind, rules: RuleSet, items: list[Item]) -> None:
    """Same firings, resolutions, actions, asserted and retracted facts at the same moments, in the same order."""
    core, naive = Core(rules, combination=kind), Naive(rules)
    for item in items:
        compare(core.step(item), naive.step(item))
    compare(core.advance(at(END)), naive.advance(at(END)))
