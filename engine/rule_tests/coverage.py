"""What of the rules their tests exercise: as findings of the check, and as parts of rules for `dockwarden test --coverage`."""

import dataclasses
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from engine.rule_tests.cases import Case
from engine.rule_tests.runner import CaseResult, run_all
from engine.rules import catalogue
from engine.rules.findings import Span
from engine.rules.model import RuleSet
from engine.rules.reader import Checked


def exercised(cases: Iterable[Case], ruleset: RuleSet) -> tuple[set[str], set[str]]:
    """Rules that some test sees firing, and rules that the facts of some test could have reached without their firing."""
    firing: set[str] = set()
    silent: set[str] = set()
    for result in run_all(cases, ruleset):
        firing |= result.fired
        silent |= result.reached - result.fired
    return firing, silent


def with_coverage(checked: Checked, *, firing: Collection[str], silent: Collection[str]) -> Checked:
    """The same with a warning for each rule that lacks a test.

    Args:
        checked: what came of reading the rules; with errors in it, it is given back as it is.
        firing: ids of the rules that some test expects to fire.
        silent: ids of the rules that some test feeds without their firing.
    """
    if checked.ruleset is None:
        return checked
    report = checked.report
    for rule in checked.ruleset.rules:
        whole = Span(rule.position.file, rule.position.line, rule.position.column, len("rule"))
        place = report.within(whole, rule.id)
        if rule.id not in firing:
            report.add(catalogue.UNTESTED_FIRING, place, f"no test expects the rule `{rule.id}` to fire")
        if rule.id not in silent:
            report.add(catalogue.UNTESTED_SILENCE, place, f"no test shows the rule `{rule.id}` staying silent")
    return dataclasses.replace(checked, findings=report.findings)


@dataclass(frozen=True, slots=True)
class Coverage:
    """Parts of rules: the rule itself, each pattern, each `unless`."""

    parts: int
    missing: tuple[str, ...]
    """What no test exercised, one line each, with its place."""


def coverage_of(ruleset: RuleSet, results: Iterable[CaseResult]) -> Coverage:
    """Which parts of the rules were exercised by what was run."""
    ran = tuple(results)
    fired = {rule for result in ran for rule in result.fired}
    patterns = {pattern for result in ran for pattern in result.patterns}
    held_back = {entry for result in ran for entry in result.held_back}
    parts = 0
    missing: list[str] = []
    for rule in ruleset.rules:
        parts += 1 + len(rule.when) + len(rule.unless)
        if rule.id not in fired:
            missing.append(f"{rule.position}: rule {rule.id} never fires")
        missing += [
            f"{rule.position}: rule {rule.id}: pattern {pattern.name} never matches"
            for pattern in rule.when
            if (rule.id, pattern.name) not in patterns
        ]
        missing += [
            f"{rule.position}: rule {rule.id}: unless number {number} never holds anything back"
            for number in range(1, len(rule.unless) + 1)
            if (rule.id, number) not in held_back
        ]
    return Coverage(parts, tuple(missing))
