"""Literals that are well-formed and not what was meant: references as text, wildcards, ratios in per cent, names for ids."""

import re
from collections.abc import Iterator

from engine.action_catalog import ACTIONS
from engine.rules import catalogue
from engine.rules.draft import DraftCondition, DraftEffect, DraftPattern, DraftRule, DraftValue
from engine.rules.findings import Report, Span, nearest, one_of
from engine.rules.kinds import VOCABULARY, FieldType, Kinds
from engine.rules.model import Placeholder, Ref, Scalar, Template
from engine.rules.scope import field_of_pattern, resolve
from engine.rules.text import split_path

# What other template languages and shells write: $name.field, ${name.field}, {{ name.field }}. Groups: name, path.
_FOREIGN = re.compile(r"\$([A-Za-z_]\w*)\.([A-Za-z_][\w.]*\w|[A-Za-z_])|\{\s*([A-Za-z_]\w*)\.([A-Za-z_][\w.]*\w|[A-Za-z_])\s*\}")
_BARE = re.compile(r"([A-Za-z_]\w*)\.([A-Za-z_][\w.]*)")
_GLOB = re.compile(r"[*?]|\[[^\]]+\]")
_PROSE = frozenset({"command", "text", "error", "detail"})
"""Fields in which `*` and `?` are ordinary characters."""

_ID_FIELDS = frozenset({"id", "container_id", "owner_id", "holder_id", "hung_container", "target"})
"""Fields of built-in kinds that hold a full container id."""
_FULL_ID = re.compile(r"[0-9a-f]{64}")
_DEPTH = 8
"""Longest chain of asserted facts through which an id is followed."""

_COMPARED = ("eq", "ne", "contains", "startswith", "endswith")


def check_literals(rule: DraftRule, kinds: Kinds, report: Report) -> None:
    """One rule by itself."""
    for text, place in _texts(rule):
        _check_foreign(rule, text, place, report)
    if rule.key is not None:
        _check_bare(rule, "key", rule.key.template, rule.key.span, kinds=kinds, report=report)
    for effect in rule.then:
        for value in effect.values:
            _check_value(rule, value, kinds, report)
    for pattern in (*rule.when, *rule.unless):
        for test in pattern.tests:
            found = field_of_pattern(_as_fact(pattern), kinds, test.path)
            for literal, span in test.literals:
                _check_literal(rule, test, literal, span, found=found, kinds=kinds, report=report)


def check_unlikely(rule: DraftRule, kinds: Kinds, report: Report) -> None:
    """Values that no source is known to give, and wildcards in values that are compared as they stand."""
    for pattern in (*rule.when, *rule.unless):
        for test in pattern.tests:
            found = field_of_pattern(_as_fact(pattern), kinds, test.path)
            if test.op not in _COMPARED or test.path[-1] in _PROSE or (isinstance(found, FieldType) and found.choices):
                continue
            known = VOCABULARY.get((pattern.kind or "", test.path[0]), ()) if len(test.path) == 1 else ()
            for literal, span in test.literals:
                name = ".".join(test.path)
                if known and test.op in ("eq", "ne") and literal not in known:
                    message = f"no source gives a {pattern.kind} with `{name}: {literal}`"
                    near = nearest(str(literal), known)
                    report.add(catalogue.UNLIKELY_VALUE, span, message, nearest=near, expected=one_of(known))
                elif isinstance(literal, str) and _GLOB.search(literal):
                    message = f"`{name}` is compared with `{literal}` character by character: there are no wildcards"
                    report.add(catalogue.GLOB_IN_EQUALITY, span, message)


def check_container_ids(rules: list[DraftRule], kinds: Kinds, report: Report) -> None:
    """Every parameter that names a container holds a full id: a name or a short id can be another container's tomorrow."""
    assertions = [(rule, effect) for rule in rules for effect in rule.then if effect.form == "assert"]
    for rule in rules:
        for effect in rule.then:
            if effect.form != "do" or effect.name not in ACTIONS:
                continue
            for value in effect.values:
                if value.name != "container" or value.name not in ACTIONS[effect.name].params:
                    continue
                if not report.has_error_at(value.span) and not _is_id(rule, value.value, kinds, assertions, _DEPTH):
                    report.add(
                        catalogue.NO_CONTAINER_ID,
                        value.span,
                        f"`{value.name}` of {effect.name} is not a full container id",
                        expected=_ids_of(rule, kinds),
                    )


def _texts(rule: DraftRule) -> Iterator[tuple[Template, Span]]:
    for text in (rule.key, rule.advice, *(effect.text for effect in rule.then)):
        if text is not None:
            yield text.template, text.span
    for effect in rule.then:
        for value in effect.values:
            if isinstance(value.value, Template):
                yield value.value, value.span


def _check_foreign(rule: DraftRule, template: Template, span: Span, report: Report) -> None:
    before: object = None
    for part in template.parts:
        if isinstance(part, str):
            for found in _FOREIGN.finditer(part):
                _report_foreign(rule, found, span, report)
        elif isinstance(before, str) and before.endswith("$"):
            shown = f"{{{part.ref.binding}.{'.'.join(part.ref.path)}"
            message = f"the dollar before `{shown}}}` would be printed too"
            report.add(
                catalogue.LITERAL_REFERENCE,
                report.within(span, f"${shown}"),
                message,
                nearest=f"{shown}}}",
                expected="{name.field}",
            )
        before = part


def _report_foreign(rule: DraftRule, found: re.Match[str], span: Span, report: Report) -> None:
    name, path = found[1] or found[3], found[2] or found[4]
    if rule.pattern(name) is None:
        return
    place = report.within(span, f"{{{found[0]}}}") if found[3] else report.within(span, found[0])
    shown = f"{{{found[0]}}}" if found[3] else found[0]
    report.add(
        catalogue.LITERAL_REFERENCE,
        place,
        f"`{shown}` would be printed as it stands",
        nearest=f"{{{name}.{path}}}",
        expected="{name.field}",
    )


def _check_bare(
    rule: DraftRule, what: str, template: Template | str, span: Span, *, kinds: Kinds, report: Report, dollar: bool = False
) -> None:
    """A whole text that is `name.field` of a pattern of this rule."""
    text = template if isinstance(template, str) else template.parts[0] if len(template.parts) == 1 else ""
    found = _BARE.fullmatch(text) if isinstance(text, str) else None
    if found is None or rule.pattern(found[1]) is None:
        return
    if isinstance(resolve(rule, kinds, Ref(found[1], split_path(found[2]))), FieldType):
        right = f"${text}" if dollar else f"{{{text}}}"
        message = f"`{what}: {text}` is that text, not the field"
        report.add(
            catalogue.LITERAL_REFERENCE, span, message, nearest=right, expected="$name.field" if dollar else "{name.field}"
        )


def _check_value(rule: DraftRule, value: DraftValue, kinds: Kinds, report: Report) -> None:
    if isinstance(value.value, str) and not value.value.startswith("$"):  # one that does was written with $$
        for found in _FOREIGN.finditer(value.value):
            _report_foreign(rule, found, value.span, report)
        _check_bare(rule, value.name, value.value, value.span, kinds=kinds, report=report, dollar=True)


def _as_fact(pattern: DraftPattern) -> DraftPattern:
    return DraftPattern("fact", pattern.name, pattern.name_span, pattern.kind, pattern.kind_span, pattern.tests)


def _check_literal(
    rule: DraftRule, test: DraftCondition, literal: Scalar, span: Span, *, found: object, kinds: Kinds, report: Report
) -> None:
    name = ".".join(test.path)
    if isinstance(literal, str):
        if rule.when and (match := re.fullmatch(r"\{([A-Za-z_]\w*)\.([\w.]+)\}", literal)) and rule.pattern(match[1]):
            message = f"`{name}: {literal}` compares with that text, not with the field"
            report.add(catalogue.LITERAL_REFERENCE, span, message, nearest=f"${match[1]}.{match[2]}", expected="$name.field")
            return
        _check_bare(rule, name, literal, span, kinds=kinds, report=report, dollar=True)
    elif not isinstance(literal, bool) and _is_ratio(test, found) and not 0 <= literal <= 1:
        near = f"{literal / 100:g}" if 1 < literal <= 100 else ""  # noqa: PLR2004  written in per cent
        message = f"`{name}` is a share from 0 to 1: {literal:g} is never reached"
        report.add(catalogue.RATIO_OUT_OF_RANGE, span, message, nearest=near, expected="from 0 to 1")


def _is_ratio(test: DraftCondition, found: object) -> bool:
    return isinstance(found, FieldType) and found.name == "number" and test.path[-1].rpartition("_")[2] == "ratio"


def _is_id(rule: DraftRule, value: object, kinds: Kinds, assertions: list[tuple[DraftRule, DraftEffect]], depth: int) -> bool:
    if isinstance(value, str):
        return _FULL_ID.fullmatch(value) is not None
    if isinstance(value, Template):
        (part,) = value.parts if len(value.parts) == 1 else (None,)
        return isinstance(part, Placeholder) and _is_id(rule, part.ref, kinds, assertions, depth)
    if not isinstance(value, Ref):
        return False
    pattern = rule.pattern(value.binding)
    kind = kinds.get(pattern.kind) if pattern is not None else None
    if pattern is None or kind is None:
        return True  # another finding says so
    if kind.built_in:
        return value.path[0] in _ID_FIELDS and len(value.path) == 1
    made = [
        (other, given.value)
        for other, effect in assertions
        if effect.name == kind.name
        for given in effect.values
        if given.name == value.path[0]
    ]
    # What comes from outside, or along a chain too long to follow, is looked at when the action runs.
    return depth == 0 or all(_is_id(other, given, kinds, assertions, depth - 1) for other, given in made)


def _ids_of(rule: DraftRule, kinds: Kinds) -> str:
    for pattern in rule.when:
        kind = kinds.get(pattern.kind)
        if pattern.form == "fact" and kind is not None and kind.built_in:
            for name in ("id", "container_id", "owner_id"):
                if name in kind.fields:
                    return f"${pattern.name}.{name}"
    return "$name.id of a container"
