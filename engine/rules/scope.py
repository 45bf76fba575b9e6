"""What a name means inside a rule: the type behind `$name.field`. Pure."""

from dataclasses import dataclass

from engine.rules import catalogue
from engine.rules.catalogue import Check
from engine.rules.draft import DraftPattern, DraftRule
from engine.rules.findings import nearest, one_of
from engine.rules.kinds import ANY, COUNT_FIELDS, FieldType, Kind, Kinds
from engine.rules.model import FieldPath, Ref
from engine.rules.text import join_path


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a name means nothing."""

    check: Check
    part: str
    message: str
    expected: str = ""
    nearest: str = ""


def field_of_kind(kind: Kind, path: FieldPath) -> FieldType | Problem:
    """Type of a field of a kind."""
    found = kind.type_of(path)
    if found is not None:
        return found
    whole = join_path(path)
    if len(path) > 1 and (head := kind.type_of((path[0],))) is not None:
        message = f"`{path[0]}` of {kind.name} is {head.shown}: there is nothing in it"
        return Problem(catalogue.UNKNOWN_FIELD, whole, message, f"`{path[0]}` without a dot")
    message = f"{kind.name} has no field `{path[0]}`"
    return Problem(catalogue.UNKNOWN_FIELD, path[0], message, one_of(kind.names), nearest(path[0], kind.names))


def field_of_pattern(pattern: DraftPattern, kinds: Kinds, path: FieldPath) -> FieldType | Problem:
    """Type of a field of what a pattern binds; `any` when its kind is not known (another finding says so)."""
    kind = kinds.get(pattern.kind)
    if pattern.form == "fact":
        return field_of_kind(kind, path) if kind is not None else ANY
    if pattern.form == "missing":
        message = f"`{pattern.name}` matches when there is no fact, so it has no fields"
        return Problem(catalogue.UNFIT_REFERENCE, pattern.name, message, "a field of a fact or count pattern")
    grouped = [by for by, _ in pattern.by]
    if path in grouped:
        found = kind.type_of(path) if kind is not None else None
        return found or ANY
    if len(path) == 1 and path[0] in COUNT_FIELDS:
        return COUNT_FIELDS[path[0]]
    names = [*(join_path(by) for by in grouped), *COUNT_FIELDS]
    whole = join_path(path)
    message = f"the count pattern `{pattern.name}` has no field `{whole}`"
    if kind is not None and isinstance(field_of_kind(kind, path), FieldType):
        message += f"; add it to `by` to count each `{whole}` by itself"
    return Problem(catalogue.UNKNOWN_FIELD, whole, message, one_of(names), nearest(whole, names))


def resolve(rule: DraftRule, kinds: Kinds, ref: Ref) -> FieldType | Problem:
    """Type of what a reference names in a rule."""
    pattern = rule.pattern(ref.binding)
    if pattern is not None:
        return field_of_pattern(pattern, kinds, ref.path)
    names = [known.name for known in rule.when if known.form != "missing"]
    return Problem(
        catalogue.UNKNOWN_BINDING,
        ref.binding,
        f"the rule has no pattern `{ref.binding}`",
        one_of(names) if names else "",
        nearest(ref.binding, names),
    )
