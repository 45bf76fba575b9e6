"""A folder of rules into a rule set, or into everything that is wrong with it. The only module here that reads files."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from engine.errors import RulesError
from engine.rules import catalogue
from engine.rules.build import build
from engine.rules.checks import run_checks
from engine.rules.declared_kinds import collect_kinds
from engine.rules.draft import DraftRule
from engine.rules.findings import Finding, Report, Span, render_json, render_text
from engine.rules.kinds import Kinds, built_in_kinds
from engine.rules.model import RuleSet
from engine.rules.overrides import Change, apply
from engine.rules.read_file import read_file
from engine.rules.yamltree import parse_yaml, read_bounded

__all__ = [
    "Checked",
    "RuleTexts",
    "check_texts",
    "is_rules_file",
    "override_files",
    "read_rules",
    "read_texts",
    "render_json",
    "render_text",
    "rule_files",
    "usable_rules",
]

FLEET = "fleet"
"""Name of the folder at the top that holds the rules of the fleet's engine: a folder of rules by itself, read by no host."""

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
    """The findings and the texts they are about; the check of the tests adds to it."""
    files: tuple[str, ...] = ()
    """The files that were read, as findings name them."""
    changes: tuple[Change, ...] = ()
    """What overrides changed."""
    rules: tuple[DraftRule, ...] = ()
    """The rules as they were read, each part with its place: for checks that need more than the texts."""

    @property
    def ok(self) -> bool:
        """No error was found."""
        return self.ruleset is not None


def rule_files(folder: Path) -> tuple[Path, ...]:
    """The rules files below a folder, by path: YAML, no tests (`*.test.yaml`), nothing hidden, nothing under `overrides/`.

    A folder `fleet` at the top holds rules of another engine, and is a folder of rules by itself.

    Raises:
        RulesError: there is no such folder, or it cannot be listed.
    """
    if not folder.is_dir():
        raise RulesError(f"{folder}: there is no such folder")
    try:
        found = [path for path in _walk(folder) if is_rules_file(path.name)]
    except OSError as error:
        raise RulesError(f"{folder}: cannot be listed: {error}") from error
    if len(found) > MAX_FILES:
        raise RulesError(f"{folder}: {len(found)} rules files, at most {MAX_FILES}")
    return tuple(sorted(found))


def is_rules_file(path: str) -> bool:
    """Whether a file of this path holds rules, by its name: YAML, no tests, not hidden."""
    name = path.rpartition("/")[2]
    return name.endswith((".yaml", ".yml")) and not name.startswith(".") and not name.endswith((".test.yaml", ".test.yml"))


def _walk(folder: Path) -> Iterator[Path]:
    """Every file below a folder. Links to folders are followed, once each; one that cannot be read is an OSError, no gap."""
    seen: set[tuple[int, int]] = set()
    for here, folders, files in os.walk(folder, onerror=_raise, followlinks=True):
        status = Path(here).stat()
        new = (status.st_dev, status.st_ino) not in seen
        seen.add((status.st_dev, status.st_ino))
        folders[:] = [
            name
            for name in folders
            if new and not name.startswith(".") and not (name == "overrides" or (name == FLEET and here == str(folder)))
        ]
        yield from (Path(here, name) for name in files if new)


def _raise(error: OSError) -> None:
    raise error


def override_files(folder: Path) -> tuple[str, ...]:
    """Every override file below `overrides/`, by its path there: `all.yaml`, `groups/<name>.yaml`, `hosts/<host>.yaml`."""
    root = folder / "overrides"
    found = [path.relative_to(root).as_posix() for path in root.rglob("*") if path.name.endswith((".yaml", ".yml"))]
    return tuple(sorted(name for name in found if not any(part.startswith(".") for part in name.split("/")))[:MAX_FILES])


@dataclass(frozen=True, slots=True)
class RuleTexts:
    """Rules as they stand in their files: names with bytes, in the order that counts. No reading is needed to check them."""

    rules: tuple[tuple[str, bytes], ...]
    overrides: tuple[tuple[str, bytes], ...] = ()

    def check(self, report: Report | None = None) -> Checked:
        """Check them."""
        return check_texts(self.rules, report, self.overrides)


def read_texts(folder: Path, layers: Iterable[str], report: Report) -> RuleTexts:
    """The files of a folder, with those of its overrides that are named and there; one that cannot be read is a finding.

    Raises:
        RulesError: there is no such folder, or it cannot be listed.
    """
    paths = rule_files(folder)
    if not paths:
        report.add(catalogue.NO_RULES, Span(str(folder), 1, 1), "there is no rules file", expected="*.yaml with rules")
    there = [path for layer in layers if (path := folder / "overrides" / layer).is_file()]
    return RuleTexts(tuple(_read(paths, report)), tuple(_read(there, report)))


def _read(paths: Iterable[Path], report: Report) -> Iterator[tuple[str, bytes]]:
    for path in paths:
        try:
            yield str(path), read_bounded(path)
        except OSError as error:
            report.add(catalogue.UNREADABLE, Span(str(path), 1, 1), f"the file cannot be read: {error.strerror or error}")


def read_rules(folder: Path, layers: Iterable[str] = ()) -> Checked:
    """Read and check every rules file below a folder; all findings at once (`render_text` shows them).

    Args:
        folder: of rules.
        layers: override files below `overrides/` to apply, in order; those that are not there are passed over.

    Raises:
        RulesError: there is no such folder, or it cannot be listed. What stands in the files never raises.
    """
    report = Report()
    return read_texts(folder, layers, report).check(report)


def usable_rules(folder: Path, layers: Iterable[str] = ()) -> tuple[RuleSet, tuple[Change, ...]]:
    """The rules of a folder with some of its overrides, and what those change.

    Raises:
        RulesError: there is an error among them (the message is the whole report), or no such folder.
    """
    checked = read_rules(folder, layers)
    if checked.ruleset is None:
        raise RulesError(f"the rules in {folder} cannot be used:\n{render_text(checked.findings)}")
    return checked.ruleset, checked.changes


def check_texts(
    texts: Iterable[tuple[str, bytes]], report: Report | None = None, overrides: Iterable[tuple[str, bytes]] = ()
) -> Checked:
    """Check rules that are in memory: file names with their bytes, in the order that counts as the order of the files."""
    report = report or Report()
    names, trees = [], {}
    for name, data in texts:
        names.append(name)
        tree = parse_yaml(data, name, report)
        if tree is not None:
            trees[name] = tree
        elif not report.mentions(name):  # the report may be of an earlier look: what was found once is not counted again
            report.add(catalogue.NO_RULES, Span(name, 1, 1), "the file is empty")
    others = [(name, tree) for name, data in overrides if (tree := parse_yaml(data, name, report)) is not None]
    overridden = apply(trees, others, report)
    order = {name: place for place, name in enumerate(names)}
    drafts = [read_file(tree, name, order[name], report) for name, tree in overridden.trees.items()]
    kinds = collect_kinds(drafts, built_in_kinds(), report)
    rules = [rule for draft in drafts for rule in draft.rules]
    # A rule that is switched off here is checked all the same: those that build on it are no less reachable elsewhere.
    run_checks(rules, kinds, report)
    in_force = [rule for rule in rules if rule.id not in overridden.disabled]
    ruleset = None if report.failed else build(in_force, kinds)
    return Checked(ruleset, report.findings, kinds, report, tuple(names), tuple(overridden.changes), tuple(rules))
