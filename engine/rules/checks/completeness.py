"""Is a rule complete: one id, a title, a severity where it alerts, a `for` that has something to hold?"""

from engine.rules import catalogue
from engine.rules.draft import DraftRule
from engine.rules.findings import Report
from engine.rules.kinds import Kinds
from engine.rules.read_file import SEVERITIES


def check_ids(rules: list[DraftRule], report: Report) -> None:
    """No two rules of a folder have one id."""
    first: dict[str, DraftRule] = {}
    for rule in rules:
        if rule.id and rule.id in first:
            place = first[rule.id].id_span.position
            report.add(catalogue.DUPLICATE_RULE, rule.id_span, f"there is a rule `{rule.id}` already at {place}")
        first.setdefault(rule.id, rule)


def check_completeness(rule: DraftRule, kinds: Kinds, report: Report) -> None:
    """One rule."""
    if not rule.has_title:
        report.add(catalogue.NO_TITLE, rule.id_span, f"{rule.shown} has no `title`")
    if rule.raises_alert and not rule.has_severity:
        report.add(
            catalogue.NO_SEVERITY,
            rule.id_span,
            f"{rule.shown} raises an alert and has no `severity`",
            expected=f"severity: {', '.join(SEVERITIES)}",
        )
    if rule.hold and rule.hold_span is not None and rule.when:
        known = [kinds.get(pattern.kind) for pattern in rule.when]
        if all(pattern.form == "fact" for pattern in rule.when) and all(kind is not None and not kind.state for kind in known):
            report.add(catalogue.EVENT_HOLD, rule.hold_span, "every pattern of the rule is over events: `for` only delays it")


def check_key(rule: DraftRule, kinds: Kinds, report: Report) -> None:
    """A rule over single facts of a kind of which a host has many, none of them chosen by its key."""
    if not rule.raises_alert or rule.has_key:
        return
    for pattern in rule.when:
        kind = kinds.get(pattern.kind)
        if pattern.form != "fact" or kind is None or not (kind.key or kind.name == "container_event"):
            continue
        names = kind.key or ("id",)
        chosen = {test.path for test in pattern.tests if test.op == "eq" and len(test.values) == 1}
        if not any((name,) in chosen for name in names):
            hint = " ".join(f"{{{pattern.name}.{name}}}" for name in names)
            message = f"{rule.shown} is about each {kind.name}, and all of them are one alert: it has no `key`"
            report.add(catalogue.NO_KEY, rule.id_span, message, expected=f'key: "{hint}"')
            return


def check_bounded(rules: list[DraftRule], kinds: Kinds, report: Report) -> None:
    """Every asserted fact goes some time: by its ttl, with its support, or by a retraction."""
    retracted = set()
    for rule in rules:
        for effect in rule.then:
            if effect.form == "retract":
                pattern = rule.pattern(effect.binding) if effect.binding is not None else None
                retracted.add(pattern.kind if pattern is not None else effect.name)
    for rule in rules:
        for effect in rule.then:
            kind = kinds.get(effect.name)
            if effect.form != "assert" or effect.ttl is not None or effect.while_supported or effect.name in retracted:
                continue
            if kind is not None and not kind.built_in:
                report.add(catalogue.UNBOUNDED_ASSERT, effect.name_span or effect.span, f"this {kind.name} never goes")
