"""`dockwarden check` and `dockwarden test`."""

import sys
from pathlib import Path

from engine.cli.choose import rules_folder
from engine.cli.rule_tests import exercised, read_all, run_folder
from engine.errors import RulesError
from engine.rules.model import RuleSet
from engine.rules.reader import read_rules, render_json, render_text


def usable_rules(folder: Path) -> RuleSet:
    """The rules of a folder.

    Raises:
        RulesError: there is an error among them; the message is the whole report.
    """
    checked = read_rules(folder)
    if checked.ruleset is None:
        raise RulesError(f"the rules in {folder} cannot be used:\n{render_text(checked.findings)}")
    return checked.ruleset


def check_rules(named: Path | None, output: str) -> int:
    """Print every finding about rules and their tests; 1 when there is an error among them."""
    folder = rules_folder(named)
    checked = read_rules(folder)
    cases = read_all(folder, checked)
    if checked.ruleset is not None:
        firing, silent = exercised(cases, checked.ruleset)
        checked = checked.with_tests(firing=firing, silent=silent)
    findings = checked.report.findings
    sys.stdout.write(render_json(findings) if output == "json" else render_text(findings))
    return 1 if any(finding.is_error for finding in findings) else 0


def test_rules(named: Path | None, *, junit: Path | None, coverage: bool) -> int:
    """Run every test of the folder; 1 when one fails."""
    return run_folder(rules_folder(named), junit=junit, coverage=coverage)
