"""Everything that can be found in a folder of rules: its rules, their tests, its overrides. Prints nothing."""

from collections.abc import Collection
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from engine.action_catalog import ACTIONS
from engine.rule_tests.cases import Case, read_cases
from engine.rule_tests.coverage import exercised, with_coverage
from engine.rule_tests.runner import test_files
from engine.rules.catalogue import BAD_OVERRIDE, MISSING_RUNBOOK, RESTART_WITHOUT_POLICY
from engine.rules.checks import run_advice
from engine.rules.draft import DraftRule
from engine.rules.findings import Finding, Report, Span, nearest
from engine.rules.overrides import Change, is_layer
from engine.rules.reader import Checked, override_files, read_rules, read_texts

MAX_RUNBOOKS = 1_000
"""Files among which the nearest name is looked for."""


@dataclass(frozen=True, slots=True)
class FolderCheck:
    """What was found, and what the overrides of the folder change."""

    checked: Checked
    findings: tuple[Finding, ...]
    changes: tuple[Change, ...]


def read_all(folder: Path, checked: Checked) -> list[Case]:
    """Every test below a folder; faults of the files go into the report of the check.

    None while the rules themselves have errors: each line of each test would name a rule that is not there.
    """
    if checked.ruleset is None:
        return []
    # A rule that an override switches off is known all the same: its tests fail, they are not misspelt.
    rules = frozenset(rule.id for rule in checked.ruleset.rules) | {change.rule for change in checked.changes}
    return [case for path in test_files(folder) for case in read_cases(path, checked.report, kinds=checked.kinds, rules=rules)]


def check_folder(folder: Path, *, touch_running: Collection[str] | None = None) -> FolderCheck:
    """All findings about rules, tests, runbooks and overrides at once.

    Args:
        folder: of rules.
        touch_running: ids of the rules that the policy lets act on running containers; None: the policy is not known.

    Raises:
        RulesError: there is no such folder, or it cannot be listed.
    """
    checked = read_rules(folder)
    run_advice(checked.rules, checked.kinds, checked.report)
    for rule in checked.rules:
        _check_runbook(folder, rule, checked.report)
        if touch_running is not None and rule.id not in touch_running:
            _check_allowed(rule, checked.report)
    cases = read_all(folder, checked)
    if checked.ruleset is not None:
        firing, silent = exercised(cases, checked.ruleset)
        checked = with_coverage(checked, firing=firing, silent=silent)
    # Each for itself: one that is for another host must not hide what is wrong with this one.
    changes = [change for name in override_files(folder) for change in _overriding(folder, name, checked.report)]
    return FolderCheck(checked, checked.report.findings, tuple(changes))


def _check_runbook(folder: Path, rule: DraftRule, report: Report) -> None:
    """A runbook that is a file is there: below the folder, or beside the rules file."""
    if rule.runbook_span is None or not rule.runbook or "://" in rule.runbook:
        return
    name = rule.runbook.partition("#")[0]
    if not any((place / name).is_file() for place in (folder, Path(rule.id_span.file).parent)):
        known = [path.relative_to(folder).as_posix() for path in islice(folder.rglob("*.md"), MAX_RUNBOOKS)]
        message = f"there is no file `{name}` in {folder}"
        report.add(MISSING_RUNBOOK, rule.runbook_span, message, nearest=nearest(name, known))


def _check_allowed(rule: DraftRule, report: Report) -> None:
    for effect in rule.then:
        spec = ACTIONS.get(effect.name or "") if effect.form == "do" else None
        if spec is not None and spec.touches_running:
            message = f"{rule.shown} asks for {spec.name}, and the policy does not name the rule"
            report.add(RESTART_WITHOUT_POLICY, effect.name_span or effect.span, message)


def _overriding(folder: Path, name: str, report: Report) -> tuple[Change, ...]:
    """What one override file changes; for a host or group it comes on top of the one for all. Faults go into the report."""
    layers = (name,) if name == "all.yaml" else ("all.yaml", name)
    own = str(folder / "overrides" / name)
    if not is_layer(name):
        places = "overrides/all.yaml, overrides/groups/<name>.yaml or overrides/hosts/<host>.yaml"
        report.add(BAD_OVERRIDE, Span(own, 1, 1), "this file is for no host", expected=places, hint="Move or rename it.")
    return tuple(change for change in read_texts(folder, layers, report).check(report).changes if change.span.file == own)
