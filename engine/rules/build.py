"""Drafts that are clean into rules, with the hashes that say whether a rule is still the same one. Pure."""

import dataclasses
import hashlib
import json
from collections.abc import Iterable
from typing import Any, cast

from engine.facts.outcomes import Severity
from engine.rules.draft import DraftEffect, DraftPattern, DraftRule
from engine.rules.kinds import Kinds
from engine.rules.model import (
    AlertEffect,
    AssertEffect,
    Condition,
    CountPattern,
    DoEffect,
    Effect,
    FactPattern,
    MissingPattern,
    Pattern,
    RetractEffect,
    Rule,
    RuleSet,
    Template,
)

_HASH_DIGITS = 16
"""Hexadecimal digits of a version: 64 bits, so that among a million versions a collision is a matter of one in 10 million."""

# What is only shown, or says where the rule stands: two rules that differ in nothing else do the same.
_NOT_BEHAVIOUR = frozenset({"title", "runbook", "advice", "incident", "version", "order", "position"})


_FORMER_NAMES = {"Condition": "Test"}
"""Versions of rules are as those of 0.1.0, so that a journal knows the activations of rules that did not change."""


def build(rules: Iterable[DraftRule], kinds: Kinds) -> RuleSet:
    """The rule set. The drafts must be free of errors: nothing is judged here."""
    built = tuple(_rule(draft) for draft in rules)
    declared = frozenset(kind.name for kind in kinds if not kind.built_in)
    shown = [[rule.version, rule.title, rule.runbook, _canonical(rule.advice), rule.incident] for rule in built]
    return RuleSet(built, declared, _digest([shown, sorted(declared)]))


def _rule(draft: DraftRule) -> Rule:
    rule = Rule(
        id=draft.id,
        title=draft.title,
        severity=cast("Severity", draft.severity or "info"),
        when=tuple(_pattern(pattern) for pattern in draft.when),
        then=tuple(_effect(effect) for effect in draft.then),
        unless=tuple(pattern for item in draft.unless for pattern in [_pattern(item)] if not isinstance(pattern, MissingPattern)),
        hold=draft.hold,
        key=draft.key.template if draft.key is not None else Template(()),
        priority=draft.priority,
        resolve_after=draft.resolve_after,
        incident=draft.incident,
        runbook=draft.runbook,
        advice=draft.advice.template if draft.advice is not None else Template(()),
        order=draft.order,
        position=draft.span.position,
    )
    return dataclasses.replace(rule, version=version_of(rule))


def version_of(rule: Rule) -> str:
    """Hash over everything that decides what a rule does; its title, texts for people and place in the folder are left out."""
    names = (field.name for field in dataclasses.fields(rule) if field.name not in _NOT_BEHAVIOUR)
    return _digest({name: _canonical(getattr(rule, name)) for name in names})


def _canonical(value: Any) -> Any:
    """JSON in which values of different types differ: a reference is no text, 1 is neither true nor 1.0."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        name = _FORMER_NAMES.get(type(value).__name__, type(value).__name__)
        return {name: [_canonical(getattr(value, field.name)) for field in dataclasses.fields(value)]}
    if isinstance(value, tuple):
        return [_canonical(item) for item in value]
    if isinstance(value, float):
        return {"float": repr(value)}
    return value


def _digest(body: Any) -> str:
    text = json.dumps(body, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:_HASH_DIGITS]


def _pattern(draft: DraftPattern) -> Pattern:
    kind = draft.kind or ""
    tests = tuple(Condition(test.path, test.op, test.values) for test in draft.tests)
    if draft.form == "count":
        by = tuple(path for path, _ in draft.by)
        return CountPattern(draft.name, kind, tests, by, draft.within, draft.at_least)
    if draft.form == "missing":
        return MissingPattern(draft.name, kind, tests, draft.duration)
    return FactPattern(draft.name, kind, tests)


def _effect(draft: DraftEffect) -> Effect:
    values = tuple((value.name, value.value) for value in draft.values)
    if draft.form == "alert":
        return AlertEffect(draft.text.template if draft.text is not None else Template(()))
    if draft.form == "do":
        return DoEffect(draft.name or "", values, draft.rate, draft.retry)
    if draft.form == "assert":
        return AssertEffect(draft.name or "", values, draft.ttl, draft.while_supported)
    return RetractEffect(draft.binding, None if draft.binding is not None else draft.name, values)
