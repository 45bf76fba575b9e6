"""A folder of rules into a rule set, or into everything that is wrong with it. The only module here that reads files."""

import dataclasses
import os
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from engine.errors import RulesError
from engine.rules import catalogue
from engine.rules.build import build
from engine.rules.checks import run_checks
from engine.rules.declare import declare
from engine.rules.draft import DraftFile
from engine.rules.findings import Finding, Report, Span, render_json, render_text
from engine.rules.kinds import Kinds, built_in_kinds
from engine.rules.model import RuleSet
from engine.rules.read_file import read_file
from engine.rules.tested import untested
from engine.rules.yamltree import MAX_BYTES, parse_yaml

__all__ = ["Checked", "check_texts", "read_rules", "render_json", "render_text", "rule_files"]

MAX_FILES = 2_000
"""Files of a rules folder; more is another folder than was meant."""


@dataclass(frozen=True, slots=True)
class Checked:
    """What came of reading a folder. `ruleset` is None when there is an error; warnings leave it usable."""

    ruleset: RuleSet | None
    findings: tuple[Finding, ...]
    kinds: Kinds
    """Every kind that its rules may name, with its fields: the tests of rules are checked against them."""
    report: Report
    """The findings and the texts they are about; `with_tests` adds to it."""
    files: tuple[str, ...] = ()
    """The files that were read, as findings name them."""

    @property
    def ok(self) -> bool:
        """No error was found."""
        return self.ruleset is not None

    def with_tests(self, *, firing: Collection[str], silent: Collection[str]) -> "Checked":
        """The same with a warning for each rule that no test expects to fire, or that none shows staying silent."""
        if self.ruleset is None:
            return self
        found = untested(self.ruleset, self.report, firing=firing, silent=silent)
        return dataclasses.replace(self, findings=found)


def rule_files(folder: Path) -> tuple[Path, ...]:
    """The rules files below a folder, by path: YAML, no tests (`*.test.yaml`), nothing hidden, nothing under `overrides/`.

    Raises:
        RulesError: there is no such folder, or it cannot be listed.
    """
    if not folder.is_dir():
        raise RulesError(f"{folder}: there is no such folder")
    try:
        found = [path for path in _walk(folder) if _is_rules(path.name)]
    except OSError as error:
        raise RulesError(f"{folder}: cannot be listed: {error}") from error
    if len(found) > MAX_FILES:
        raise RulesError(f"{folder}: {len(found)} rules files, at most {MAX_FILES}")
    return tuple(sorted(found))


def _is_rules(name: str) -> bool:
    return name.endswith((".yaml", ".yml")) and not name.startswith(".") and not name.endswith((".test.yaml", ".test.yml"))


def _walk(folder: Path) -> Iterator[Path]:
    """Every file below a folder. Links to folders are followed, once each; one that cannot be read is an OSError, no gap."""
    seen: set[tuple[int, int]] = set()
    for here, folders, files in os.walk(folder, onerror=_raise, followlinks=True):
        status = Path(here).stat()
        new = (status.st_dev, status.st_ino) not in seen
        seen.add((status.st_dev, status.st_ino))
        folders[:] = [name for name in folders if new and not name.startswith(".") and name != "overrides"]
        yield from (Path(here, name) for name in files if new)


def _raise(error: OSError) -> None:
    raise error


def read_rules(folder: Path) -> Checked:
    """Read and check every rules file below a folder; all findings at once (`render_text` shows them).

    Raises:
        RulesError: there is no such folder, or it cannot be listed. What stands in the files never raises.
    """
    report = Report()
    texts: list[tuple[str, bytes]] = []
    paths = rule_files(folder)
    for path in paths:
        name = str(path)
        try:
            with path.open("rb") as file:
                texts.append((name, file.read(MAX_BYTES + 1)))
        except OSError as error:
            report.add(catalogue.UNREADABLE, Span(name, 1, 1), f"the file cannot be read: {error.strerror or error}")
    if not paths:
        report.add(catalogue.NO_RULES, Span(str(folder), 1, 1), "there is no rules file", expected="*.yaml with rules")
    return check_texts(texts, report)


def check_texts(texts: Iterable[tuple[str, bytes]], report: Report | None = None) -> Checked:
    """Check rules that are in memory: file names with their bytes, in the order that counts as the order of the files."""
    report = report or Report()
    drafts: list[DraftFile] = []
    names = []
    for order, (name, data) in enumerate(texts):
        names.append(name)
        before = report.count
        tree = parse_yaml(data, name, report)
        if tree is not None:
            drafts.append(read_file(tree, name, order, report))
        elif report.count == before:
            report.add(catalogue.NO_RULES, Span(name, 1, 1), "the file is empty")
    kinds = declare(drafts, built_in_kinds(), report)
    rules = [rule for draft in drafts for rule in draft.rules]
    run_checks(rules, kinds, report)
    ruleset = None if report.failed else build(rules, kinds)
    return Checked(ruleset, report.findings, kinds, report, tuple(names))
