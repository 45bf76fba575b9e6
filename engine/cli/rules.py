"""`dockwarden check` and `dockwarden test`."""

import json
import sys
from collections.abc import Iterable
from pathlib import Path

from engine.cli.rule_tests import exercised, override_text, read_all, run_folder
from engine.cli.targets import chosen_layers, rules_folder
from engine.errors import RulesError
from engine.rules.catalogue import BAD_OVERRIDE
from engine.rules.findings import Report, Span
from engine.rules.model import RuleSet
from engine.rules.overrides import Change, is_layer
from engine.rules.reader import override_files, read_rules, read_texts, render_json, render_text


def usable_rules(folder: Path, layers: Iterable[str] = ()) -> RuleSet:
    """The rules of a folder, with some of its overrides; what those change is said on standard error.

    Raises:
        RulesError: there is an error among them; the message is the whole report.
    """
    checked = read_rules(folder, layers)
    if checked.ruleset is None:
        raise RulesError(f"the rules in {folder} cannot be used:\n{render_text(checked.findings)}")
    for change in checked.changes:
        print(f"dockwarden: {override_text(change)}", file=sys.stderr)
    return checked.ruleset


def check_rules(named: Path | None, output: str) -> int:
    """Print every finding about rules and their tests; 1 when there is an error among them."""
    folder = rules_folder(named)
    checked = read_rules(folder)
    cases = read_all(folder, checked)
    if checked.ruleset is not None:
        firing, silent = exercised(cases, checked.ruleset)
        checked = checked.with_tests(firing=firing, silent=silent)
    # Each for itself: one that is for another host must not hide what is wrong with this one.
    changes = [change for name in override_files(folder) for change in _overriding(folder, name, checked.report)]
    findings = checked.report.findings
    if output == "json":
        told = [{"file": it.span.file, "line": it.span.line, "rule": it.rule, "change": it.what} for it in changes]
        sys.stdout.write(json.dumps(json.loads(render_json(findings)) | {"overrides": told}, indent=2) + "\n")
    else:
        for change in changes:
            print(override_text(change))
        sys.stdout.write(render_text(findings))
    return 1 if any(finding.is_error for finding in findings) else 0


def _overriding(folder: Path, name: str, report: Report) -> tuple[Change, ...]:
    """What one override file changes; for a host or group it comes on top of the one for all. Faults go into the report."""
    layers = (name,) if name == "all.yaml" else ("all.yaml", name)
    own = str(folder / "overrides" / name)
    if not is_layer(name):
        places = "overrides/all.yaml, overrides/groups/<name>.yaml or overrides/hosts/<host>.yaml"
        report.add(BAD_OVERRIDE, Span(own, 1, 1), "this file is for no host", expected=places, hint="Move or rename it.")
    return tuple(change for change in read_texts(folder, layers, report).check(report).changes if change.span.file == own)


def test_rules(named: Path | None, *, junit: Path | None, coverage: bool, host: str | None, groups: list[str] | None) -> int:
    """Run every test of the folder; 1 when one fails.

    Tests are about the rules as they are written; overrides are in them only for a host or groups that are named.
    """
    layers = chosen_layers(host, groups) if host is not None or groups else ()
    return run_folder(rules_folder(named), junit=junit, coverage=coverage, layers=layers)
