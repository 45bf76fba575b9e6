"""Which fields of its patterns a rule tests or uses."""

from collections.abc import Iterable, Iterator
from typing import Any

from engine.rules.model import (
    AlertEffect,
    AssertEffect,
    DoEffect,
    FactPattern,
    FieldPath,
    Ref,
    RetractEffect,
    Rule,
    Template,
)


def effect_refs(effect: AlertEffect | DoEffect | AssertEffect | RetractEffect) -> Iterator[Ref]:
    """References in what a rule does."""
    match effect:
        case AlertEffect():
            yield from effect.text.refs
        case DoEffect():
            yield from _value_refs(value for _, value in effect.params)
        case AssertEffect() | RetractEffect():
            yield from _value_refs(value for _, value in effect.fields)


def _value_refs(values: Iterable[Any]) -> Iterator[Ref]:
    for value in values:
        if isinstance(value, Ref):
            yield value
        elif isinstance(value, Template):
            yield from value.refs


def used_paths(rule: Rule) -> dict[str, dict[FieldPath, None]]:
    """Fields by binding: tested in `when`, referred to in `when`, `unless`, `key` and `then`."""
    used: dict[str, dict[FieldPath, None]] = {pattern.name: {} for pattern in rule.when}
    for pattern in (*rule.when, *rule.unless):
        for test in pattern.tests:
            if isinstance(pattern, FactPattern) and pattern in rule.when:
                used[pattern.name][test.path] = None
            for ref in test.refs:
                used.setdefault(ref.binding, {})[ref.path] = None
    refs = [*rule.key.refs, *(ref for effect in rule.then for ref in effect_refs(effect))]
    for ref in refs:
        used.setdefault(ref.binding, {})[ref.path] = None
    return used
