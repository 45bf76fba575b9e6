"""Which values a field of a pattern can have when a rule matches, as far as literals show. Pure.

Fields that a rule joins by equality have the same value, so what is known of one is known of all of them.
None stands for "anything". A set holds scalars; null is left out and asked for by `may_be_null`.
"""

from collections.abc import Iterable, Iterator

from engine.rules.draft import DraftCondition, DraftPattern, DraftRule
from engine.rules.kinds import FieldType, Kinds
from engine.rules.model import FieldPath, Op, Ref, Scalar
from engine.rules.operators import BadRegexError, fits, holds
from engine.rules.scope import field_of_pattern

Choices = frozenset[Scalar] | None


def passes(op: Op, value: Scalar, literals: Iterable[Scalar]) -> bool:
    """Whether a literal passes a test against literals, as in the core; true where type or expression is wrong: others say so."""
    others = tuple(literals)
    try:
        return holds(op, value, others) or not all(fits(op, value, other) for other in others)
    except BadRegexError:
        return True


def joins(rule: DraftRule) -> Iterator[tuple[DraftPattern, DraftCondition, Ref]]:
    """Every test of `when` that makes a field equal to one other field."""
    for pattern in rule.when:
        for test in pattern.tests:
            if pattern.form != "missing" and test.op == "eq" and len(test.values) == 1 and isinstance(test.values[0], Ref):
                yield pattern, test, test.values[0]


def equals(rule: DraftRule, ref: Ref) -> set[Ref]:
    """The field and all that a match makes equal to it."""
    pairs = [(Ref(pattern.name, test.path), other) for pattern, test, other in joins(rule)]
    found = {ref}
    grown = True
    while grown:
        new = {b if a in found else a for a, b in pairs if (a in found) != (b in found)}
        grown = bool(new)
        found |= new
    return found


def local_choices(pattern: DraftPattern, kinds: Kinds, path: FieldPath) -> Choices:
    """What the type of a field and a pattern's own tests leave."""
    found = field_of_pattern(pattern, kinds, path) if pattern.form == "fact" or path in [by for by, _ in pattern.by] else None
    known: Choices = None
    if isinstance(found, FieldType):
        known = frozenset(found.choices) if found.choices else frozenset({True, False}) if found.name == "boolean" else None
    elif pattern.form == "count":
        return None
    tests = [test for test in pattern.tests if test.path == path and not any(test.refs)]
    for test in tests:
        literals = frozenset(value for value, _ in test.literals)
        if test.op == "eq":
            known = literals if known is None else known & literals
    if known is None:
        return None
    return _that_pass(known, tests)


def choices(rule: DraftRule, kinds: Kinds, ref: Ref) -> Choices:
    """What the whole rule leaves of a field: its own tests and those of the fields it is joined with."""
    known: Choices = None
    tests: list[DraftCondition] = []
    for same in equals(rule, ref):
        pattern = rule.pattern(same.binding)
        if pattern is None or pattern.form == "missing":
            continue
        here = local_choices(pattern, kinds, same.path)
        if here is not None:
            known = here if known is None else known & here
        if pattern.form == "fact":
            tests += [test for test in pattern.tests if test.path == same.path and not any(test.refs)]
    return None if known is None else _that_pass(known, tests)


def _that_pass(known: frozenset[Scalar], tests: list[DraftCondition]) -> frozenset[Scalar]:
    return frozenset(value for value in known if all(passes(test.op, value, (it for it, _ in test.literals)) for test in tests))


def shown(test: DraftCondition) -> str:
    """A test as it is written."""
    name = ".".join(test.path) + ("" if test.op == "eq" else f"|{test.op}")
    values = [f"${v.binding}.{'.'.join(v.path)}" if isinstance(v, Ref) else _literal(v) for v in test.values[:4]]
    more = ", …" if len(test.values) > len(values) else ""
    return f"{name}: {values[0]}" if len(test.values) == 1 else f"{name}: [{', '.join(values)}{more}]"


def _literal(value: Scalar) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)[:60]
