"""`dockwarden test`: prints what came of the tests of rules, as text, as JUnit XML, and what no test exercised."""

import time
import xml.etree.ElementTree as ET
from collections.abc import Iterable
from pathlib import Path

from rich.console import Console
from rich.text import Text

from engine.cli.targets import chosen_layers, rules_folder
from engine.errors import DockwardenError, RulesError
from engine.rule_tests.coverage import coverage_of
from engine.rule_tests.folder import read_all
from engine.rule_tests.runner import CaseResult, run_all
from engine.rules.findings import render_text
from engine.rules.model import RuleSet
from engine.rules.reader import read_rules


def test_rules(named: Path | None, *, junit: Path | None, coverage: bool, host: str | None, groups: list[str] | None) -> int:
    """Run every test of the folder; 1 when one fails.

    Tests are about the rules as they are written; overrides are in them only for a host or groups that are named.
    """
    layers = chosen_layers(host, groups) if host is not None or groups else ()
    return run_folder(rules_folder(named), junit=junit, coverage=coverage, layers=layers)


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
        console.print(Text(str(change), style="dim"))
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


def _write_junit(file: Path, results: list[CaseResult]) -> None:
    suites = ET.Element("testsuites")
    by_file: dict[str, list[CaseResult]] = {}
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


def _print_coverage(console: Console, ruleset: RuleSet, results: list[CaseResult]) -> None:
    found = coverage_of(ruleset, results)
    for line in found.missing:
        console.print(Text(line, style="yellow"))
    done = found.parts - len(found.missing)
    share = 100 * done / found.parts if found.parts else 100
    console.print(Text(f"coverage: {done} of {found.parts} parts of rules exercised ({share:.0f} %)"))
