"""`dockwarden test`: prints what came of the tests of rules, as text, as JUnit XML, and what no test exercised."""

import time
import xml.etree.ElementTree as ET
from collections.abc import Iterable
from pathlib import Path

from rich.console import Console
from rich.text import Text

from engine.errors import DockwardenError, RulesError
from engine.rule_tests.cases import TimelineCase, read_timelines
from engine.rule_tests.runner import TimelineResult, run_all, test_paths
from engine.rules.model import RuleSet
from engine.rules.overrides import Change
from engine.rules.reader import Checked, read_rules, render_text


def read_all(folder: Path, checked: Checked) -> list[TimelineCase]:
    """Every test below a folder; faults of the files go into the report of the check.

    None while the rules themselves have errors: each line of each test would name a rule that is not there.
    """
    if checked.ruleset is None:
        return []
    # A rule that an override switches off is known all the same: its tests fail, they are not misspelt.
    rules = frozenset(rule.id for rule in checked.ruleset.rules) | {change.rule for change in checked.changes}
    return [
        case for path in test_paths(folder) for case in read_timelines(path, checked.report, kinds=checked.kinds, rules=rules)
    ]


def override_text(change: Change) -> str:
    """What an override changes, in one line."""
    return f"{change.span.position}: override of {change.rule}: {change.what}"


def run_folder(folder: Path, *, junit: Path | None, coverage: bool, layers: Iterable[str] = ()) -> int:
    """Run every test of a folder, with the overrides of some layers in its rules; 1 when one fails or cannot be read.

    Raises:
        RulesError: the rules themselves cannot be used.
    """
    checked = read_rules(folder, layers)
    if checked.ruleset is None:
        raise RulesError(f"the rules in {folder} cannot be used:\n{render_text(checked.findings)}")
    cases = read_all(folder, checked)
    faults = [finding for finding in checked.report.findings if finding.is_error]
    console = Console(highlight=False, soft_wrap=True)
    for change in checked.changes:
        console.print(Text(override_text(change), style="dim"))
    if faults:
        console.print(Text(render_text(faults)), end="")
    started = time.perf_counter()
    results = list(run_all(cases, checked.ruleset))
    took = time.perf_counter() - started
    for result in results:
        if not result.ok:
            console.print(Text(f"FAILED {result.file}:{result.line} {result.name}", style="red"))
            for problem in result.problems[:10]:
                console.print(Text(f"  {problem}"))
    failed = sum(not result.ok for result in results)
    rate = f", {len(results) / took:.0f} a second" if took > 0 and results else ""
    console.print(Text(f"{len(results) - failed} passed, {failed} failed", style="red" if failed or faults else "green"))
    console.print(Text(f"{len(results)} tests of {len(checked.ruleset.rules)} rules in {took:.2f} s{rate}", style="dim"))
    if junit is not None:
        _write_junit(junit, results)
    if coverage:
        _print_coverage(console, checked.ruleset, results)
    return 1 if failed or faults else 0


def exercised(cases: list[TimelineCase], ruleset: RuleSet) -> tuple[set[str], set[str]]:
    """Rules that some test sees firing, and rules that the facts of some test could have reached without their firing."""
    firing: set[str] = set()
    silent: set[str] = set()
    for result in run_all(cases, ruleset):
        firing |= result.fired
        silent |= result.reached - result.fired
    return firing, silent


def _write_junit(file: Path, results: list[TimelineResult]) -> None:
    suites = ET.Element("testsuites")
    by_file: dict[str, list[TimelineResult]] = {}
    for result in results:
        by_file.setdefault(result.file, []).append(result)
    for name, group in by_file.items():
        failures = sum(not result.ok for result in group)
        suite = ET.SubElement(suites, "testsuite", name=name, tests=str(len(group)), failures=str(failures))
        for result in group:
            case = ET.SubElement(suite, "testcase", classname=name, name=_xml_text(result.name), file=name, line=str(result.line))
            if not result.ok:
                failure = ET.SubElement(case, "failure", message=_xml_text(result.problems[0]))
                failure.text = _xml_text("\n".join(result.problems))
    try:
        ET.ElementTree(suites).write(file, encoding="utf-8", xml_declaration=True)
    except OSError as error:
        raise DockwardenError(f"{file}: cannot be written: {error.strerror}") from error


def _xml_text(text: str) -> str:
    """XML 1.0 knows no control characters."""
    return "".join(char if char.isprintable() or char in "\n\t" else "\N{REPLACEMENT CHARACTER}" for char in text)


def _print_coverage(console: Console, ruleset: RuleSet, results: list[TimelineResult]) -> None:
    fired = {rule for result in results for rule in result.fired}
    patterns = {pattern for result in results for pattern in result.patterns}
    held_back = {entry for result in results for entry in result.held_back}
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
    for line in missing:
        console.print(Text(line, style="yellow"))
    share = 100 * (parts - len(missing)) / parts if parts else 100
    console.print(Text(f"coverage: {parts - len(missing)} of {parts} parts of rules exercised ({share:.0f} %)"))
