"""Which rules no test exercises: the hook for whoever runs the rule tests."""

from collections.abc import Collection

from engine.rules import catalogue
from engine.rules.findings import Finding, Report, Span
from engine.rules.model import RuleSet


def untested(ruleset: RuleSet, report: Report, *, firing: Collection[str], silent: Collection[str]) -> tuple[Finding, ...]:
    """Everything the report holds, with a warning for each rule that lacks a test.

    Args:
        ruleset: the rules.
        report: the report of the check that made them (`Checked.report`), which knows their texts.
        firing: ids of the rules that some test expects to fire.
        silent: ids of the rules that some test feeds without their firing.
    """
    for rule in ruleset.rules:
        whole = Span(rule.position.file, rule.position.line, rule.position.column, len("rule"))
        place = report.within(whole, rule.id)
        if rule.id not in firing:
            report.add(catalogue.UNTESTED_FIRING, place, f"no test expects the rule `{rule.id}` to fire")
        if rule.id not in silent:
            report.add(catalogue.UNTESTED_SILENCE, place, f"no test shows the rule `{rule.id}` staying silent")
    return report.findings
