"""Do the tests of a pattern make sense: kinds, fields, modifiers, types of values, references?"""

from engine.rules import catalogue
from engine.rules.decode import describe_value
from engine.rules.draft import DraftCondition, DraftPattern, DraftRule
from engine.rules.findings import Report, Span, nearest, one_of
from engine.rules.kinds import FieldType, Kind, Kinds
from engine.rules.model import Op, Ref, Scalar
from engine.rules.operators import BadRegexError, compile_regex
from engine.rules.scope import Problem, field_of_kind, resolve
from engine.rules.text import join_path

_EQUAL = frozenset({"eq", "ne", "exists"})
_ORDER = frozenset({"gt", "gte", "lt", "lte"})
_TEXT = frozenset({"contains", "startswith", "endswith", "re"})
_FIT: dict[str, frozenset[str]] = {
    "string": _EQUAL | _TEXT,
    "integer": _EQUAL | _ORDER,
    "number": _EQUAL | _ORDER,
    "boolean": _EQUAL,
    "time": _EQUAL | _ORDER,
    "map": frozenset({"contains", "exists"}),
    "list": frozenset({"contains", "re", "exists"}),
}
"""Modifiers by the type of their field. A list contains an element, or one that matches an expression; a map a key."""

_SHOWN_OPS = ("ne", "gt", "gte", "lt", "lte", "contains", "startswith", "endswith", "re", "exists")


def check_patterns(rule: DraftRule, kinds: Kinds, report: Report) -> None:
    """Every pattern of `when` and `unless`."""
    for pattern in (*rule.when, *rule.unless):
        kind = known_kind(pattern.kind, pattern.kind_span, kinds, report)
        if kind is None:
            continue
        for path, span in pattern.by:
            found = field_of_kind(kind, path)
            if isinstance(found, Problem):
                report_problem(found, span, report)
            elif found.name in ("map", "list"):
                report.add(
                    catalogue.WRONG_TYPE,
                    span,
                    f"`{join_path(path)}` is {found.shown}",
                    expected="a field with one value to count by",
                )
        for test in pattern.tests:
            _check_test(rule, pattern, kind, test, kinds=kinds, report=report)


def known_kind(name: str | None, span: Span, kinds: Kinds, report: Report) -> Kind | None:
    """The kind of that name, or a finding."""
    kind = kinds.get(name)
    if kind is None and name is not None:
        names = [known.name for known in kinds]
        report.add(
            catalogue.UNKNOWN_KIND, span, f"unknown fact kind `{name}`", nearest=nearest(name, names), expected=one_of(names)
        )
    return kind


def report_problem(problem: Problem, span: Span, report: Report) -> None:
    """A name that means nothing, at the part of the text that names it."""
    report.add(
        problem.check, report.within(span, problem.part), problem.message, expected=problem.expected, nearest=problem.nearest
    )


def comparable(one: FieldType, other: FieldType) -> bool:
    """Whether values of two types can ever be equal."""
    names = {one.name, other.name}
    return "any" in names or len(names) == 1 or names == {"integer", "number"}


def _check_test(
    rule: DraftRule, pattern: DraftPattern, kind: Kind, test: DraftCondition, *, kinds: Kinds, report: Report
) -> None:
    found = field_of_kind(kind, test.path)
    if isinstance(found, Problem):
        report_problem(found, test.span, report)
        return
    fit = _FIT.get(found.name)
    if fit is not None and test.op not in fit:
        here = "one of equal (no modifier), " if "eq" in fit else ""
        fitting = ", ".join(op for op in _SHOWN_OPS if op in fit)
        message = f"`{join_path(test.path)}` is {found.shown}: `{test.op}` does not go with it"
        if test.op == "eq":
            message = f"`{join_path(test.path)}` is {found.shown}: it is not compared as a whole"
        report.add(catalogue.UNFIT_MODIFIER, test.span, message, expected=here + fitting)
        return
    for value, span in test.literals:
        _check_literal(test, found, value, span, report=report)
    for ref, span in test.refs:
        _check_ref(rule, pattern, test, found, ref=ref, span=span, kinds=kinds, report=report)


def _check_literal(test: DraftCondition, found: FieldType, value: Scalar, span: Span, *, report: Report) -> None:
    if test.op == "exists":
        return
    name = join_path(test.path)
    if found.name in ("map", "list"):
        found = FieldType("string")
    fault = literal_fault(found, value, test.op)
    if fault:
        report.add(catalogue.WRONG_TYPE, span, f"`{name}` is {found.shown}, this is {describe_value(value)}", expected=fault)
    elif found.choices and test.op in _EQUAL and value not in found.choices:
        near = nearest(str(value), found.choices)
        report.add(catalogue.UNKNOWN_VALUE, span, f"`{name}` is never `{value}`", nearest=near, expected=one_of(found.choices))
    elif test.op == "re" and isinstance(value, str):
        try:
            compile_regex(value)
        except BadRegexError as error:
            report.add(catalogue.BAD_REGEX, span, f"invalid regular expression: {error}", expected="RE2 syntax")


def literal_fault(found: FieldType, value: Scalar, op: Op = "eq") -> str:
    """What a literal ought to be to stand for a field of a type; nothing when it may."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if found.name == "string" and not isinstance(value, str):
        return f'a text: put it into quotes, "{str(value).lower() if isinstance(value, bool) else value}"'
    if found.name == "boolean" and not isinstance(value, bool):
        return "true or false"
    if found.name in ("integer", "number") and not is_number:
        return "a number without quotes" if isinstance(value, str) and _is_numeral(value) else found.shown
    if found.name == "integer" and op in _EQUAL and isinstance(value, float) and not value.is_integer():
        return "a whole number"
    if found.name == "time":
        return "$name.field: a time is compared with another time"
    return ""


def _is_numeral(text: str) -> bool:
    return text.strip().lstrip("+-").replace(".", "", 1).isdigit()


def _check_ref(
    rule: DraftRule,
    pattern: DraftPattern,
    test: DraftCondition,
    found: FieldType,
    *,
    ref: Ref,
    span: Span,
    kinds: Kinds,
    report: Report,
) -> None:
    if ref.binding == pattern.name and pattern in rule.when:
        message = f"`{pattern.name}` refers to itself"
        report.add(catalogue.UNFIT_REFERENCE, span, message, expected="a field of another pattern")
        return
    if test.op in ("re", "exists"):
        message = f"`{test.op}` takes no reference"
        report.add(
            catalogue.UNFIT_REFERENCE, span, message, expected="a literal expression" if test.op == "re" else "true or false"
        )
        return
    if pattern.form != "fact" and test.op != "eq":
        message = f"`{test.op}` with a reference does not stand in a {pattern.form} pattern"
        report.add(catalogue.UNFIT_REFERENCE, span, message, expected="field: $name.field")
        return
    other = resolve(rule, kinds, ref)
    if isinstance(other, Problem):
        report_problem(other, span, report)
        return
    mine = FieldType("string") if test.op in _TEXT else found
    if other.name in ("map", "list") or not comparable(mine, other):
        name, there = join_path(test.path), f"${ref.binding}.{join_path(ref.path)}"
        report.add(
            catalogue.UNLIKE_TYPES,
            span,
            f"`{name}` is {found.shown}, `{there}` is {other.shown}",
            expected=f"a field that is {mine.shown}",
        )
