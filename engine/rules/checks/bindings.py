"""Is every pattern of a rule needed, and do joins keep the number of matches in bounds?"""

from collections.abc import Iterator

from engine.rules import catalogue
from engine.rules.draft import DraftPattern, DraftRule
from engine.rules.findings import Report
from engine.rules.kinds import Kinds
from engine.rules.model import Ref

_MANY = frozenset({"container", "mount_leak", "process_files"})
"""State kinds of which a host may hold thousands; events always may."""

_FEW = 2
"""Unjoined patterns over events from which on the matches grow faster than anything can keep up with: more than these."""


def uses(rule: DraftRule) -> Iterator[str]:
    """Names of the patterns that something other than their own tests refers to."""
    for pattern in (*rule.when, *rule.unless):
        for test in pattern.tests:
            yield from (ref.binding for ref, _ in test.refs)
    for text in (rule.key, rule.advice):
        if text is not None:
            yield from (ref.binding for ref in text.template.refs)
    for effect in rule.then:
        if effect.text is not None:
            yield from (ref.binding for ref in effect.text.template.refs)
        for value in effect.values:
            yield from (ref.binding for ref in value.refs)
        if effect.binding is not None:
            yield effect.binding


def check_unused(rule: DraftRule, report: Report) -> None:
    """A pattern among several that is neither joined nor used. One whose name begins with `_` is meant to be only there."""
    binding = [pattern for pattern in rule.when if pattern.form != "missing"]
    if len(binding) < 2:  # noqa: PLR2004 -- a sole pattern is what the rule is about
        return
    used = set(uses(rule))
    for pattern in binding:
        joined = any(True for test in pattern.tests for _ in test.refs)
        if pattern.name not in used and not joined and not pattern.name.startswith("_"):
            other = next(other.name for other in binding if other is not pattern)
            hint = f"join it (field: ${other}.field), use it, or call it `_{pattern.name}` if it only has to be there"
            message = f"`{pattern.name}` is joined with no other pattern and used nowhere"
            report.add(catalogue.UNUSED_BINDING, pattern.name_span, message, hint=hint)


def check_joins(rule: DraftRule, kinds: Kinds, report: Report) -> None:
    """Patterns that may match many facts each, with no equality between them."""
    if any(rule.pattern(name) is None for name in uses(rule)):
        return  # a join may be meant by the name that means nothing
    groups = _groups(rule)
    wide: dict[str, DraftPattern] = {}
    events: dict[str, DraftPattern] = {}
    for pattern in rule.when:
        kind = kinds.get(pattern.kind)
        if pattern.form != "fact" or kind is None:
            continue
        if not kind.state or kind.name in _MANY:
            wide.setdefault(groups[pattern.name], pattern)
        if not kind.state:
            events.setdefault(groups[pattern.name], pattern)
    if len(events) > _FEW:
        *others, last = events.values()
        names = ", ".join(f"`{other.name}`" for other in others)
        message = f"`{last.name}` is not joined by equality with {names}: {len(events)} patterns over events multiply"
        report.add(catalogue.ENDLESS_JOIN, last.name_span, message, expected=f"field: ${others[0].name}.field")
    elif len(wide) > 1:
        *others, last = wide.values()
        message = (
            f"`{last.name}` is not joined by equality with `{others[0].name}`: every fact of one meets every fact of the other"
        )
        report.add(catalogue.WIDE_JOIN, last.name_span, message, expected=f"field: ${others[0].name}.field")


def _groups(rule: DraftRule) -> dict[str, str]:
    """Patterns that equality joins, directly or through others, have one group: the name of its first pattern."""
    group = {pattern.name: pattern.name for pattern in rule.when}
    for pattern in rule.when:
        for test in pattern.tests:
            if test.op == "eq" and all(isinstance(value, Ref) for value in test.values):
                for ref, _ in test.refs:
                    if ref.binding in group:
                        old, new = group[ref.binding], group[pattern.name]
                        group = {name: new if of == old else of for name, of in group.items()}
    return group
