"""Which kinds rules declare, and the types of their fields: from `facts:` and from what is asserted. Pure.

A field that takes its value from another declared fact has that fact's type, so types are carried along until nothing changes.
"""

import dataclasses
from collections.abc import Iterable, Iterator

from engine.rules import catalogue
from engine.rules.draft import DraftEffect, DraftFile, DraftKind, DraftRule, DraftValue
from engine.rules.findings import Report, Span, nearest, one_of
from engine.rules.kinds import ANY, BOOLEAN, INTEGER, NUMBER, STRING, TEXTS, FieldType, Kind, Kinds
from engine.rules.model import Ref, Scalar, Template
from engine.rules.scope import resolve

Fields = dict[str, FieldType]


def declare(files: Iterable[DraftFile], built_in: Kinds, report: Report) -> Kinds:
    """All kinds: the built-in ones and those that the files declare; a finding where a field gets values of two types."""
    drafts = tuple(files)
    declared = _declared(drafts, built_in, report)
    rules = [rule for file in drafts for rule in file.rules]
    kinds = built_in.with_declared(_kinds(declared, _asserted(rules, built_in, declared, None)))
    # Each round types at least one more field or is the last, so there are no more rounds than asserted values.
    for _ in range(1 + sum(len(effect.values) for rule in rules for effect in rule.then)):
        again = built_in.with_declared(_kinds(declared, _asserted(rules, kinds, declared, None)))
        if again.by_name == kinds.by_name:
            break
        kinds = again
    _asserted(rules, kinds, declared, report)
    return kinds


def value_type(value: DraftValue, rule: DraftRule, kinds: Kinds) -> FieldType:
    """Type of a value in an effect; `any` where it cannot be told."""
    if isinstance(value.value, Ref):
        found = resolve(rule, kinds, value.value)
        return found if isinstance(found, FieldType) else ANY
    if isinstance(value.value, Template):
        return STRING
    if isinstance(value.value, tuple):
        return TEXTS
    return scalar_type(value.value)


def scalar_type(value: Scalar) -> FieldType:
    """Type of a literal; bool comes first because Python's truth values are integers too."""
    if isinstance(value, bool):
        return BOOLEAN
    if isinstance(value, int):
        return INTEGER
    return NUMBER if isinstance(value, float) else STRING


def _declared(files: tuple[DraftFile, ...], built_in: Kinds, report: Report) -> dict[str, tuple[DraftKind, Fields]]:
    declared: dict[str, tuple[DraftKind, Fields]] = {}
    for kind in (kind for file in files for kind in file.kinds):
        if kind.name in built_in:
            report.add(catalogue.BAD_NAME, kind.span, f"`{kind.name}` is a built-in fact kind", hint="choose another name")
        elif kind.name in declared:
            first = declared[kind.name][0].span.position
            report.add(catalogue.DUPLICATE_KEY, kind.span, f"the kind `{kind.name}` is declared already at {first}")
        else:
            declared[kind.name] = (kind, {name: found for name, found, _ in kind.fields})
    return declared


def _asserted(
    rules: list[DraftRule], kinds: Kinds, declared: dict[str, tuple[DraftKind, Fields]], report: Report | None
) -> dict[str, Fields]:
    asserted: dict[str, Fields] = {}
    for rule, kind, effect in _assertions(rules):
        known = kinds.get(kind)
        if known is not None and known.built_in:
            continue
        fields = asserted.setdefault(kind, {})
        given = declared[kind][1] if kind in declared else {}
        for name in effect.unread:
            fields.setdefault(name, ANY)
        for value in effect.values:
            found = value_type(value, rule, kinds)
            if given and value.name not in given:
                _undeclared(kind, value, given, report)
                continue
            before = given.get(value.name)
            merged = _merge(before or fields.get(value.name, ANY), found, fixed=before is not None)
            if merged is not None:
                fields[value.name] = merged
            elif report is not None:
                _unlike(kind, value.name, before or fields[value.name], found, span=value.span, report=report)
    return asserted


def _undeclared(kind: str, value: DraftValue, given: Fields, report: Report | None) -> None:
    if report is not None:
        message = f"{kind} is declared without a field `{value.name}`"
        near = nearest(value.name, given)
        report.add(catalogue.UNKNOWN_FIELD, value.name_span, message, expected=one_of(given), nearest=near)


def _assertions(rules: list[DraftRule]) -> Iterator[tuple[DraftRule, str, DraftEffect]]:
    for rule in rules:
        for effect in rule.then:
            if effect.form == "assert" and effect.name is not None:
                yield rule, effect.name, effect


def _merge(before: FieldType, after: FieldType, *, fixed: bool) -> FieldType | None:
    """One type for both, None when they are unlike. A declared type (`fixed`) stays as it is."""
    if after.name in ("any", before.name):
        return before
    if before.name == "any":
        return FieldType(after.name)
    if {before.name, after.name} == {"integer", "number"} and not (fixed and before.name == "integer"):
        return NUMBER
    if fixed and before.name == "time" and after.name == "string":
        return before
    return None


def _unlike(kind: str, name: str, before: FieldType, after: FieldType, *, span: Span, report: Report) -> None:
    report.add(
        catalogue.UNLIKE_DECLARATIONS,
        span,
        f"`{name}` of {kind} is {after.shown} here and {before.shown} elsewhere",
        expected=before.shown,
    )


def _kinds(declared: dict[str, tuple[DraftKind, Fields]], asserted: dict[str, Fields]) -> Iterator[Kind]:
    for name in sorted({*declared, *asserted}):
        draft = declared.get(name)
        fields = asserted.get(name, {}) | (draft[1] if draft else {})
        # Of two rules that assert a kind one may leave a field out, so any may be unknown.
        typed = {field: dataclasses.replace(found, optional=True) for field, found in fields.items()}
        yield Kind(name, typed, built_in=False, external=draft is not None, doc=draft[0].doc if draft else "")
