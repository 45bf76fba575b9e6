"""Can a rule fire at all: do its tests leave a value, can anything match its patterns, does `unless` ever let it through?"""

import math
from collections.abc import Iterable

from engine.rules import catalogue
from engine.rules.draft import DraftCondition, DraftEffect, DraftPattern, DraftRule
from engine.rules.findings import Report, nearest
from engine.rules.kinds import Kind, Kinds
from engine.rules.model import FieldPath, Ref, Scalar
from engine.rules.produced_facts import asserted, could_match
from engine.rules.scope import Problem, field_of_kind
from engine.rules.text import join_path
from engine.rules.value_sets import choices, equals, joins, local_choices, passes, shown

_BOUNDS = ("gt", "gte", "lt", "lte")


def check_reachability(rule: DraftRule, kinds: Kinds, report: Report) -> None:
    """One rule by itself."""
    for pattern in (*rule.when, *rule.unless):
        kind = kinds.get(pattern.kind)
        if kind is None or any(isinstance(field_of_kind(kind, test.path), Problem) for test in pattern.tests):
            continue
        for path in dict.fromkeys(test.path for test in pattern.tests):
            _check_field(pattern, kind, kinds, path, report)
        _check_count(pattern, kind, report)
    _check_joins(rule, kinds, report)
    _check_same_fact(rule, kinds, report)
    _check_unless(rule, kinds, report)


def check_sources(rules: list[DraftRule], kinds: Kinds, report: Report) -> None:
    """Patterns over what other rules make: does any of them make what the pattern wants?"""
    assertions = [(rule, effect) for rule in rules for effect in rule.then if effect.form == "assert"]
    alerting = {rule.id for rule in rules if rule.raises_alert}
    for rule in rules:
        for pattern in rule.when:
            kind = kinds.get(pattern.kind)
            if kind is not None and not kind.built_in and not kind.external and pattern.form != "missing":
                _check_asserted(pattern, kinds, assertions, report)
        for pattern in (*rule.when, *rule.unless):
            if pattern.kind == "alert":
                _check_alert(pattern, alerting, report)


def _check_field(pattern: DraftPattern, kind: Kind, kinds: Kinds, path: FieldPath, report: Report) -> None:
    tests = [test for test in pattern.tests if test.path == path]
    absent = [test for test in tests if test.op == "exists" and test.values == (False,)]
    others = [test for test in tests if test not in absent and test.op != "ne"]
    found = kind.type_of(path)
    if absent and others:
        _contradiction(tests, report)
    elif absent and found is not None and kind.built_in and not found.optional:
        message = f"every {kind.name} has `{join_path(path)}`: `{shown(absent[0])}` never holds"
        report.add(catalogue.UNREACHABLE, absent[0].span, message, hint="leave the test out, or compare with the empty text")
    elif not absent and (
        _no_choice(pattern, kinds, path) or _no_number(tests, integer=found is not None and found.name == "integer")
    ):
        _contradiction(tests, report)


def _no_choice(pattern: DraftPattern, kinds: Kinds, path: FieldPath) -> bool:
    return local_choices(_as_fact(pattern), kinds, path) == frozenset() and not _misfit(pattern, kinds, path)


def _as_fact(pattern: DraftPattern) -> DraftPattern:
    """The tests inside a count or missing pattern, looked at as those of a fact pattern."""
    return DraftPattern("fact", pattern.name, pattern.name_span, pattern.kind, pattern.kind_span, pattern.tests)


def _misfit(pattern: DraftPattern, kinds: Kinds, path: FieldPath) -> bool:
    """A literal that the field cannot have: another finding says so, better."""
    kind = kinds.get(pattern.kind)
    found = kind.type_of(path) if kind is not None else None
    allowed: Iterable[Scalar] = found.choices if found is not None else ()
    literals = [value for test in pattern.tests if test.path == path for value, _ in test.literals if test.op in ("eq", "ne")]
    if found is not None and found.name == "boolean":
        return any(not isinstance(value, bool) for value in literals)
    return bool(allowed) and any(value not in allowed for value in literals)


def _no_number(tests: list[DraftCondition], *, integer: bool) -> bool:
    low, high = -math.inf, math.inf
    open_low = open_high = False
    for test in tests:
        numbers = [value for value, _ in test.literals if isinstance(value, int | float) and not isinstance(value, bool)]
        if test.op not in _BOUNDS or len(numbers) != len(test.values):
            continue
        # Of several values any will do, so the loosest counts.
        if test.op in ("gt", "gte"):
            value = min(numbers)
            if value > low or (value == low and test.op == "gt"):
                low, open_low = value, test.op == "gt"
        else:
            value = max(numbers)
            if value < high or (value == high and test.op == "lt"):
                high, open_high = value, test.op == "lt"
    if integer and math.isfinite(low) and math.isfinite(high):
        first = math.floor(low) + 1 if open_low else math.ceil(low)
        last = math.ceil(high) - 1 if open_high else math.floor(high)
        return first > last
    return low > high or (low == high and (open_low or open_high))


def _contradiction(tests: list[DraftCondition], report: Report) -> None:
    listed = " and ".join(f"`{shown(test)}`" for test in tests)
    message = f"nothing passes {listed}" if len(tests) > 1 else f"nothing passes {listed}: no value is left"
    report.add(catalogue.UNREACHABLE, tests[-1].span, message)


def _check_count(pattern: DraftPattern, kind: Kind, report: Report) -> None:
    if pattern.form != "count" or pattern.at_least <= 1 or kind.key is None:
        return
    by = [path for path, _ in pattern.by]
    if all((name,) in by for name in kind.key):
        what = "there is one" if kind.single else f"there is one for each {' and '.join(kind.key)}"
        message = f"`{pattern.name}` never reaches {pattern.at_least}: {kind.name} is a state, and {what}"
        report.add(catalogue.UNREACHABLE, pattern.name_span, message, hint="count events, or group by another field")


def _check_joins(rule: DraftRule, kinds: Kinds, report: Report) -> None:
    for pattern, test, ref in joins(rule):
        mine, other = Ref(pattern.name, test.path), rule.pattern(ref.binding)
        if other is None or other is pattern:
            continue
        here = local_choices(pattern, kinds, test.path)
        there = choices(rule, kinds, mine)
        if here != frozenset() and there == frozenset() and local_choices(other, kinds, ref.path) != frozenset():
            message = f"`{shown(test)}` never holds: the tests of the two fields leave no common value"
            report.add(catalogue.UNREACHABLE, test.span, message)
            return


def _check_same_fact(rule: DraftRule, kinds: Kinds, report: Report) -> None:
    """Two patterns never bind one fact; a state has one fact for each key."""
    patterns = [pattern for pattern in rule.when if pattern.form == "fact"]
    for number, later in enumerate(patterns):
        kind = kinds.get(later.kind)
        if kind is None or kind.key is None:
            continue
        for earlier in patterns[:number]:
            same_key = all(Ref(earlier.name, (name,)) in equals(rule, Ref(later.name, (name,))) for name in kind.key)
            if earlier.kind == later.kind and same_key:
                what = "there is at most one" if kind.single else f"there is one for each {' and '.join(kind.key)}"
                message = f"`{later.name}` would have to be the same fact as `{earlier.name}`: {kind.name} is a state, {what}"
                hint = f"put its tests into `{earlier.name}`"
                report.add(catalogue.UNREACHABLE, later.name_span, message, hint=hint)


def _check_unless(rule: DraftRule, kinds: Kinds, report: Report) -> None:
    for held in rule.unless:
        for pattern in rule.when:
            if held.form != "fact" or pattern.form != "fact" or held.kind is None or held.kind != pattern.kind:
                continue
            if all(_implied(rule, pattern, test, kinds) for test in held.tests):
                report.add(
                    catalogue.ALWAYS_HELD,
                    held.kind_span,
                    f"the fact that `{pattern.name}` binds matches this pattern too, so the rule always waits",
                    hint="test something that the fact need not have",
                )
                break


def _implied(rule: DraftRule, pattern: DraftPattern, test: DraftCondition, kinds: Kinds) -> bool:
    """Whether what a pattern binds is sure to pass a test of `unless`."""
    mine = Ref(pattern.name, test.path)
    if any(same.path == test.path and same.op == test.op and same.values == test.values for same in pattern.tests):
        return True
    if any(test.refs):
        return test.op == "eq" and any(ref in equals(rule, mine) for ref, _ in test.refs)
    known = choices(rule, kinds, mine)
    if test.op == "exists" or not known:
        return False
    # A field that may be unknown passes no test but `ne`, unless the rule says what it is.
    known_exactly = any(same.op == "eq" for same in pattern.tests if same.path == test.path)
    return known_exactly and all(passes(test.op, value, (literal for literal, _ in test.literals)) for value in known)


def _check_asserted(pattern: DraftPattern, kinds: Kinds, assertions: list[tuple[DraftRule, DraftEffect]], report: Report) -> None:
    if any(report.has_error_at(span) for test in pattern.tests for span in (test.span, *test.value_spans)):
        return
    made = [asserted(rule, effect, kinds) for rule, effect in assertions if effect.name == pattern.kind]
    if any(could_match(values, pattern) for values in made):
        return
    # The finding stands at the first test that by itself no assertion passes, or at the pattern when it takes several.
    for test in pattern.tests:
        alone = DraftPattern("fact", pattern.name, pattern.name_span, pattern.kind, pattern.kind_span, (test,))
        if not any(could_match(values, alone) for values in made):
            message = f"no rule asserts a {pattern.kind} with `{shown(test)}`"
            report.add(catalogue.UNREACHABLE, test.span, message)
            return
    message = f"no rule asserts a {pattern.kind} that passes all tests of `{pattern.name}`"
    report.add(catalogue.UNREACHABLE, pattern.name_span, message)


def _check_alert(pattern: DraftPattern, alerting: set[str], report: Report) -> None:
    for test in pattern.tests:
        if test.path != ("rule",) or test.op != "eq":
            continue
        for value, span in test.literals:
            if isinstance(value, str) and value not in alerting:
                near = nearest(value, alerting)
                report.add(catalogue.UNKNOWN_ALERT, span, f"no rule here raises the alert `{value}`", nearest=near)
