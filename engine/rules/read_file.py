"""A rules file: its tree into drafts of rules and of the kinds that it declares. Knows the keys of a file and of a rule."""

import re
from typing import get_args

from engine.facts.outcomes import Severity
from engine.rules import catalogue, decode
from engine.rules.draft import DraftEffect, DraftFile, DraftKind, DraftPattern, DraftRule, DraftText
from engine.rules.findings import Report, Span
from engine.rules.kinds import ANY, DECLARABLE, FieldType
from engine.rules.read_effects import RESERVED, read_then
from engine.rules.read_patterns import read_unless, read_when
from engine.rules.text import BINDING
from engine.rules.yamltree import MapNode, Node

FILE_KEYS = ("incident", "facts", "rules")
RULE_KEYS = (
    "rule", "title", "description", "severity", "runbook", "references", "when", "unless", "for", "key", "priority", "then",
    "resolve_after", "next",
)  # fmt: skip
SEVERITIES: tuple[str, ...] = get_args(Severity)

MAX_PRIORITY = 1_000_000
"""Largest priority, either way; more would only be a contest."""

MAX_ID = 100
"""Characters of a rule's id: it stands in topics, in dedup keys of at most 255, and in file names."""
_ENVELOPE = (*RESERVED, "fact", "ttl")
"""What no field of a declared kind may be called."""

KEBAB = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")


def read_file(tree: Node, file: str, order: int, report: Report) -> DraftFile:
    """Drafts of everything in a file; `order` is its place among the files."""
    mapping = decode.as_map(tree, "the file", report)
    if mapping is None:
        return DraftFile(file)
    decode.known_keys(mapping, FILE_KEYS, "the file", report)
    incident = _text(mapping, "incident", report)
    facts, rules = mapping.get("facts"), mapping.get("rules")
    kinds = _read_kinds(facts, report) if facts is not None else ()
    if rules is None:
        if facts is None:
            report.add(catalogue.NO_RULES, mapping.span, "the file has no `rules`", expected="a list under `rules:`")
        return DraftFile(file, (), kinds)
    listing = decode.as_list(rules, "`rules`", report)
    if listing is None:
        return DraftFile(file, (), kinds)
    if not listing.items:
        report.add(catalogue.NO_RULES, rules.span, "`rules` is empty")
    drafts = []
    for place, item in enumerate(listing.items):
        if report.full:
            break
        drafts.append(_read_rule(item, (order, place), incident, report))
    return DraftFile(file, tuple(draft for draft in drafts if draft is not None), kinds)


def _text(mapping: MapNode, key: str, report: Report) -> str:
    node = mapping.get(key)
    return (decode.as_text(node, f"`{key}`", report) or "") if node is not None else ""


def _read_rule(node: Node, order: tuple[int, int], incident: str, report: Report) -> DraftRule | None:
    mapping = decode.as_map(node, "a rule", report)
    if mapping is None:
        return None
    start = mapping.entries[0][0].span if mapping.entries else node.span
    ident, id_span = _read_id(mapping, start, report)
    where = f"the rule `{ident}`" if ident else "the rule"
    decode.known_keys(mapping, RULE_KEYS, where, report)
    decode.required_keys(mapping, ("rule", "when", "then"), where, id_span, report)
    _text(mapping, "description", report)
    _read_references(mapping, report)
    severity, hold, resolve = mapping.get("severity"), mapping.get("for"), mapping.get("resolve_after")
    return DraftRule(
        id=ident,
        id_span=id_span,
        span=start,
        order=order,
        when=_patterns(mapping, report),
        unless=_unless(mapping, report),
        then=_effects(mapping, report),
        severity=decode.as_choice(severity, "`severity`", SEVERITIES, report) if severity is not None else None,
        has_severity=severity is not None,
        title=_text(mapping, "title", report),
        has_title="title" in mapping.keys,
        runbook=_text(mapping, "runbook", report),
        runbook_span=runbook.span if (runbook := mapping.get("runbook")) is not None else None,
        advice=_read_template(mapping, "next", report),
        incident=incident,
        hold=(decode.as_duration(hold, "`for`", report, positive=False) if hold is not None else None) or 0,
        hold_span=hold.span if hold is not None else None,
        key=_read_template(mapping, "key", report),
        has_key="key" in mapping.keys,
        priority=_read_priority(mapping, report),
        resolve_after=decode.as_duration(resolve, "`resolve_after`", report) if resolve is not None else None,
    )


def _patterns(mapping: MapNode, report: Report) -> tuple[DraftPattern, ...]:
    node = mapping.get("when")
    return read_when(node, report) if node is not None else ()


def _unless(mapping: MapNode, report: Report) -> tuple[DraftPattern, ...]:
    node = mapping.get("unless")
    return read_unless(node, report) if node is not None else ()


def _effects(mapping: MapNode, report: Report) -> tuple[DraftEffect, ...]:
    node = mapping.get("then")
    return read_then(node, report) if node is not None else ()


def _read_id(mapping: MapNode, start: Span, report: Report) -> tuple[str, Span]:
    node = mapping.get("rule")
    if node is None:
        return "", start
    ident = decode.as_text(node, "`rule`", report)
    if ident is None:
        return "", node.span
    if len(ident) > MAX_ID or not KEBAB.fullmatch(ident):
        proper = "-".join(re.findall(r"[a-z0-9]+", ident[:MAX_ID].lower()))
        report.add(
            catalogue.BAD_NAME,
            node.span,
            f"invalid rule id `{ident[:MAX_ID]}`",
            nearest=proper if KEBAB.fullmatch(proper) else "",
            expected=f"kebab-case, at most {MAX_ID} characters",
        )
    return ident, node.span


def _read_priority(mapping: MapNode, report: Report) -> int:
    node = mapping.get("priority")
    found = decode.as_integer(node, "`priority`", -MAX_PRIORITY, MAX_PRIORITY, report) if node is not None else None
    return found or 0


def _read_template(mapping: MapNode, key: str, report: Report) -> DraftText | None:
    node = mapping.get(key)
    template = decode.as_template(node, f"`{key}`", report) if node is not None else None
    return DraftText(template, node.span) if node is not None and template is not None else None


def _read_references(mapping: MapNode, report: Report) -> None:
    node = mapping.get("references")
    listing = decode.as_list(node, "`references`", report) if node is not None else None
    for item in listing.items if listing is not None else ():
        decode.as_text(item, "a reference", report)


def _read_kinds(node: Node, report: Report) -> tuple[DraftKind, ...]:
    mapping = decode.as_map(node, "`facts`", report)
    kinds = []
    for key, value in mapping.entries if mapping is not None else ():
        if not BINDING.fullmatch(key.text):
            message = f"invalid fact kind name `{key.text}`"
            report.add(catalogue.BAD_NAME, key.span, message, expected="letters, digits and underscores")
            continue
        body = decode.as_map(value, f"the kind `{key.text}`", report)
        if body is None:
            continue
        decode.known_keys(body, ("fields", "doc"), f"the kind `{key.text}`", report)
        kinds.append(DraftKind(key.text, key.span, _read_declared(body, report), _text(body, "doc", report)))
    return tuple(kinds)


def _read_declared(body: MapNode, report: Report) -> tuple[tuple[str, FieldType, Span], ...]:
    node = body.get("fields")
    mapping = decode.as_map(node, "`fields`", report) if node is not None else None
    fields = []
    for key, value in mapping.entries if mapping is not None else ():
        if key.text in _ENVELOPE or not BINDING.fullmatch(key.text):
            report.add(
                catalogue.BAD_NAME, key.span, f"invalid field name `{key.text}`",
                expected="letters, digits and underscores, none of " + ", ".join(_ENVELOPE),
            )  # fmt: skip
            continue
        name = decode.as_choice(value, f"the type of `{key.text}`", DECLARABLE, report)
        fields.append((key.text, DECLARABLE.get(name or "", ANY), key.span))
    return tuple(fields)
