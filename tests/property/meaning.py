"""What a single test, field, text or group means, for the naive matcher. No state, no time."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from engine.facts import Fact
from engine.facts.registry import DeclaredFact
from engine.facts.timestamps import SECOND
from engine.rules.model import (
    AlertEffect,
    Condition,
    CountPattern,
    DoEffect,
    Effect,
    FieldPath,
    Op,
    Pattern,
    Ref,
    Rule,
    Template,
    Value,
)

_MINUTE = 60 * SECOND

Group = Mapping[FieldPath, object]
"""What a count binds: `count`, `per_minute`, `first_at`, `last_at`, `within`, `samples`, and the fields it groups by."""

Bound = Fact | Group
"""What a pattern bound: a fact, or a group of them."""


def kind_of(fact: Fact) -> str:
    """The name that rules use for its kind."""
    return fact.identity[0]


def value_of(bound: Bound, path: FieldPath) -> object:
    """A field of a fact or group; None where there is none. `class` stands in Python as `class_`."""
    if not isinstance(bound, Fact):
        return bound.get(path)
    value: object
    if isinstance(bound, DeclaredFact):
        value = bound.values.get(path[0])
    else:
        value = getattr(bound, path[0], None)
        value = getattr(bound, path[0] + "_", None) if value is None else value
    if len(path) == 1:
        return value
    return value.get(path[1]) if isinstance(value, dict) else None


def satisfies(fact: Fact, pattern: Pattern, bound: Mapping[str, Bound]) -> bool:
    """Whether the fact is of the pattern's kind and passes all its tests."""
    return kind_of(fact) == pattern.kind and all(passes(fact, test, bound) for test in pattern.tests)


def passes(fact: Fact, test: Condition, bound: Mapping[str, Bound]) -> bool:
    """One test. Any of the values will do; for `ne`, none of them may be equal. What is not there equals nothing."""
    value = value_of(fact, test.path)
    wanted = [value_of(bound[one.binding], one.path) if isinstance(one, Ref) else one for one in test.values]
    if test.op == "exists":
        return any((value is not None) == one for one in wanted)
    if test.op == "ne":
        return not any(_compares("eq", value, one) for one in wanted)
    return any(_compares(test.op, value, one) for one in wanted)


def _compares(op: Op, value: object, wanted: object) -> bool:
    if value is None or wanted is None:
        return False
    if op == "eq":
        return value == wanted
    if isinstance(value, str) and isinstance(wanted, str):
        return _compares_text(op, value, wanted)
    if isinstance(value, int | float) and isinstance(wanted, int | float):
        return {"gt": value > wanted, "gte": value >= wanted, "lt": value < wanted, "lte": value <= wanted}[op]
    return False


def _compares_text(op: Op, value: str, wanted: str) -> bool:
    if op == "re":
        return re.search(wanted, value) is not None
    return {"contains": wanted in value, "startswith": value.startswith(wanted), "endswith": value.endswith(wanted)}[op]


def group_values(pattern: CountPattern, fact: Fact) -> tuple[object, ...]:
    """What names the group that a fact is counted in."""
    return tuple(value_of(fact, path) for path in pattern.by)


def without_references(pattern: CountPattern) -> CountPattern:
    """The pattern with only those tests that look at nothing but the fact."""
    return replace(pattern, tests=tuple(test for test in pattern.tests if not test.refs))


def group_of(pattern: CountPattern, facts: Sequence[Fact]) -> Group:
    """What a count binds, from its facts in the order of event time."""
    return {
        ("count",): len(facts),
        ("per_minute",): len(facts) * _MINUTE / pattern.within,
        ("first_at",): facts[0].at,
        ("last_at",): facts[-1].at,
        ("within",): pattern.within,
        **{path: value_of(facts[0], path) for path in pattern.by},
    }


def field_of(value: Value, bound: Mapping[str, Bound]) -> object:
    """A value of `then`: a literal, a reference or a text."""
    if isinstance(value, Ref):
        return value_of(bound[value.binding], value.path)
    return rendered(value, bound) if isinstance(value, Template) else value


def rendered(template: Template, bound: Mapping[str, Bound]) -> str:
    """The text with its placeholders filled; what is not there leaves nothing."""
    parts = []
    for part in template.parts:
        value = part if isinstance(part, str) else value_of(bound[part.ref.binding], part.ref.path)
        parts.append("" if value is None else str(value))
    return "".join(parts)


def used_fields(rule: Rule) -> list[Ref]:
    """Every field of a bound fact that the rule tests, refers to, or puts into a text, a parameter or a fact."""
    used = list(rule.key.refs)
    for pattern in rule.when:
        used += [Ref(pattern.name, test.path) for test in pattern.tests]
    for pattern in (*rule.when, *rule.unless):
        used += [ref for test in pattern.tests for ref in test.refs]
    for value in (value for effect in rule.then for value in _values_of(effect)):
        if isinstance(value, Ref):
            used.append(value)
        elif isinstance(value, Template):
            used += value.refs
    return used


def _values_of(effect: Effect) -> list[Value]:
    if isinstance(effect, AlertEffect):
        return [effect.text]
    if isinstance(effect, DoEffect):
        return [value for _, value in effect.params]
    return [value for _, value in effect.fields]
