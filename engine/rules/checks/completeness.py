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
