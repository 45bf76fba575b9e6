"""What facts a rule can bring about, as far as literals show, and which patterns they could match. Pure.

Values by path: a set of what the field may be, None for anything; a path that is not there is a field without a value.
"""

from collections.abc import Iterator, Mapping

from engine.rules.draft import DraftCondition, DraftEffect, DraftPattern, DraftRule
from engine.rules.kinds import ENVELOPE, Kinds
from engine.rules.model import FieldPath, Ref, Template
from engine.rules.value_sets import Choices, choices, passes

Produced = Mapping[FieldPath, Choices]

_ANYTHING: dict[FieldPath, Choices] = {(name,): None for name in ENVELOPE}


def asserted(rule: DraftRule, effect: DraftEffect, kinds: Kinds) -> Produced:
    """The fact of an `assert`."""
    values = dict(_ANYTHING)
    for value in effect.values:
        if isinstance(value.value, Ref):
            values[(value.name,)] = choices(rule, kinds, value.value)
        elif isinstance(value.value, Template | tuple):
            values[(value.name,)] = None
        else:
            values[(value.name,)] = frozenset({value.value})
    return values


def produced_facts(rule: DraftRule, kinds: Kinds) -> Iterator[tuple[DraftEffect, str, Produced]]:
    """Every fact that a rule's effects lead to: effect, kind, values."""
    for effect in rule.then:
        if effect.form == "assert" and effect.name is not None:
            yield effect, effect.name, asserted(rule, effect, kinds)
        elif effect.form == "alert":
            severity: Choices = frozenset({rule.severity}) if rule.severity else None
            of_alert: dict[FieldPath, Choices] = {("rule",): frozenset({rule.id}), ("severity",): severity}
            yield effect, "alert", _anything("alert", kinds) | of_alert
        elif effect.form == "do" and effect.name is not None:
            outcome: dict[FieldPath, Choices] = {("action",): frozenset({effect.name}), ("rule",): frozenset({rule.id})}
            yield effect, "action_result", _anything("action_result", kinds) | outcome


def _anything(kind: str, kinds: Kinds) -> dict[FieldPath, Choices]:
    found = kinds.get(kind)
    return {(name,): None for name in (found.names if found is not None else ENVELOPE)}


def could_match(values: Produced, pattern: DraftPattern) -> bool:
    """Whether a fact with such values may pass every test of a pattern."""
    return all(_could_pass(values, test) for test in pattern.tests)


def _could_pass(values: Produced, test: DraftCondition) -> bool:
    if test.path not in values and test.path[:1] not in values:
        return test.op == "ne" or (test.op == "exists" and test.values == (False,))
    if test.op == "exists" and test.values == (False,):
        return values.get(test.path, None) is None  # a reference may lead to nothing
    known = values.get(test.path)
    if known is None or any(test.refs):
        return True
    literals = tuple(value for value, _ in test.literals)
    return any(passes(test.op, value, literals) for value in known)
