"""Which kinds rules declare, and the types of their fields: from `facts:` and from what is asserted. Pure.

A field that takes its value from another declared fact has that fact's type, so types are carried along until nothing changes.
"""

from collections.abc import Iterable, Iterator

from engine.rules import catalogue
from engine.rules.draft import DraftEffect, DraftFile, DraftKind, DraftRule, DraftValue
from engine.rules.findings import Report, nearest, one_of
from engine.rules.kinds import ANY, BOOLEAN, INTEGER, NUMBER, STRING, TEXTS, FieldType, Kind, Kinds
from engine.rules.model import Ref, Scalar, Template
from engine.rules.scope import resolve

Fields = dict[str, FieldType]
_Assertion = tuple[DraftRule, str, DraftEffect]


def collect_kinds(files: Iterable[DraftFile], built_in: Kinds, report: Report) -> Kinds:
    """All kinds: the built-in ones and those that the files declare; a finding where a field gets values of two types."""
    drafts = tuple(files)
    given = _given(drafts, built_in, report)
    rules = [rule for file in drafts for rule in file.rules]
    assertions = [assertion for assertion in _assertions(rules) if assertion[1] not in built_in]
    # The fields of each kind are filled in while the kinds that hold them are asked already.
    fields: dict[str, Fields] = {kind: {} for _, kind, _ in assertions}
    fields |= {name: {field: _optional(found) for field, found, _ in kind.fields} for name, kind in given.items()}
    kinds = built_in.with_declared(
        Kind(name, fields[name], built_in=False, external=name in given, doc=given[name].doc if name in given else "")
        for name in sorted(fields)
    )
    # Types only go from unknown to known and from integer to number, so this ends. Chains of rules run down or up a folder: going
    # through it both ways in turn carries types along either in one go.
    forward = True
    while _carry(assertions if forward else assertions[::-1], given, fields, kinds):
        forward = not forward
    _report_unlike(assertions, given, kinds, report)
    return kinds


def value_type(value: DraftValue, rule: DraftRule, kinds: Kinds) -> FieldType:
    """Type of a value in an effect; `any` where it is not known."""
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


def _given(files: tuple[DraftFile, ...], built_in: Kinds, report: Report) -> dict[str, DraftKind]:
    """Kinds under `facts:`."""
    given: dict[str, DraftKind] = {}
    for kind in (kind for file in files for kind in file.kinds):
        if kind.name in built_in:
            report.add(catalogue.BAD_NAME, kind.span, f"`{kind.name}` is a built-in fact kind", hint="choose another name")
        elif kind.name in given:
            first = given[kind.name].span.position
            report.add(catalogue.DUPLICATE_KEY, kind.span, f"the kind `{kind.name}` is declared already at {first}")
        else:
            given[kind.name] = kind
    return given


def _assertions(rules: list[DraftRule]) -> Iterator[_Assertion]:
    for rule in rules:
        for effect in rule.then:
            if effect.form == "assert" and effect.name is not None:
                yield rule, effect.name, effect


def _closed(kind: str, given: dict[str, DraftKind]) -> bool:
    """`facts:` lists the fields of the kind, so it has no others."""
    return kind in given and bool(given[kind].fields)


def _carry(assertions: list[_Assertion], given: dict[str, DraftKind], fields: dict[str, Fields], kinds: Kinds) -> bool:
    """One round through all assertions; whether anything was learned."""
    learned = False
    for rule, kind, effect in assertions:
        if _closed(kind, given):
            continue
        known = fields[kind]
        for name in effect.unread:
            known.setdefault(name, _optional(ANY))
        for value in effect.values:
            before = known.get(value.name)
            after = _merge(before or ANY, value_type(value, rule, kinds)) or before
            if after is not None and (before is None or after.name != before.name):
                known[value.name] = _optional(after)
                learned = True
    return learned


def _optional(found: FieldType) -> FieldType:
    """Of two rules that assert a kind one may leave a field out, so any may be unknown."""
    return FieldType(found.name, optional=True)


def _merge(before: FieldType, after: FieldType) -> FieldType | None:
    """One type for both, None when they are unlike."""
    if after.name in ("any", before.name):
        return before
    if before.name == "any":
        return after
    return NUMBER if {before.name, after.name} == {"integer", "number"} else None


def _report_unlike(assertions: list[_Assertion], given: dict[str, DraftKind], kinds: Kinds, report: Report) -> None:
    for rule, kind, effect in assertions:
        known = kinds.by_name[kind].fields
        for value in effect.values:
            found = value_type(value, rule, kinds)
            before = known.get(value.name)
            if before is None:
                message = f"{kind} is declared without a field `{value.name}`"
                near = nearest(value.name, known)
                report.add(catalogue.UNKNOWN_FIELD, value.name_span, message, expected=one_of(known), nearest=near)
            elif not _fits(before, found, declared=_closed(kind, given)):
                message = f"`{value.name}` of {kind} is {found.shown} here and {before.shown} elsewhere"
                report.add(catalogue.UNLIKE_DECLARATIONS, value.span, message, expected=before.shown)


def _fits(wanted: FieldType, found: FieldType, *, declared: bool) -> bool:
    """Whether a value may be asserted. A declared time may be written out as a text; a declared integer takes no other number."""
    if declared and wanted.name == "time" and found.name == "string":
        return True
    merged = _merge(wanted, found)
    return merged is not None and wanted.name in (merged.name, "any")
