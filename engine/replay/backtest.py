"""How often rules would have fired on recorded facts, with other values too. In one pass; prints nothing and reads no file."""

import dataclasses
import itertools
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from engine.errors import DockwardenError
from engine.facts import FactKinds
from engine.facts.timestamps import Micros
from engine.inference.core import Core
from engine.replay.player import step
from engine.replay.recording import Faults, read_facts
from engine.rule_tests.folder import FolderCheck
from engine.rules.catalogue import FIRES_TOO_OFTEN
from engine.rules.findings import Report, Span, nearest, render_text
from engine.rules.model import AlertEffect, AssertEffect, Rule, RuleSet
from engine.rules.overrides import value_paths
from engine.rules.reader import RuleTexts
from engine.rules.yamltree import parse_yaml

MAX_VARIANTS = 200
"""Combinations of values tried in one pass: each is a core of its own."""
MAX_KEYS = 10_000
"""Keys counted by themselves for one variant."""


@dataclass(slots=True)
class Firings:
    """How often one rule fired, and on what."""

    number: int = 0
    keys: Counter[str] = field(default_factory=Counter)
    first_at: Micros = 0
    last_at: Micros = 0

    def add(self, key: str, at: Micros) -> None:
        """One more."""
        self.number += 1
        if key in self.keys or len(self.keys) < MAX_KEYS:
            self.keys[key] += 1
        self.first_at = self.first_at or at
        self.last_at = at


def needed_rules(ruleset: RuleSet, rule_ids: Iterable[str]) -> RuleSet:
    """These rules and those that make the facts and alerts they match, directly or through others. The rest cannot matter."""
    wanted = set(rule_ids)
    while True:
        kinds = {pattern.kind for rule in ruleset.rules if rule.id in wanted for pattern in (*rule.when, *rule.unless)}
        more = {rule.id for rule in ruleset.rules if rule.id not in wanted and _makes(rule) & kinds}
        if not more:
            return dataclasses.replace(ruleset, rules=tuple(rule for rule in ruleset.rules if rule.id in wanted))
        wanted |= more


def _makes(rule: Rule) -> set[str]:
    made = {effect.kind for effect in rule.then if isinstance(effect, AssertEffect)}
    return made | {"alert"} if any(isinstance(effect, AlertEffect) for effect in rule.then) else made


def count_firings(
    rulesets: Sequence[tuple[RuleSet, frozenset[str]]], lines: Iterable[bytes], faults: Faults, since: Micros = 0
) -> list[dict[str, Firings]]:
    """How often each rule of interest fired under each set of rules.

    A firing is one activation: an alert that begins to fire, or a set of facts on which the other effects ran.

    Args:
        rulesets: each with the ids of the rules of interest.
        lines: of the recording.
        faults: gets what cannot be read.
        since: firings before this moment are not counted; their facts are taken all the same.
    """
    cores = [Core(needed_rules(ruleset, ids), keep_changes=False) for ruleset, ids in rulesets]
    found: list[dict[str, Firings]] = [{ident: Firings() for ident in ids} for _, ids in rulesets]
    kinds = FactKinds().with_declared(frozenset().union(*(ruleset.declared for ruleset, _ in rulesets)))
    last: list[tuple[str, str, Micros] | None] = [None] * len(cores)
    for fact in read_facts(lines, kinds, faults):
        for number, core in enumerate(cores):
            for decision in step(core, fact, faults):
                firings = found[number].get(decision.rule)
                if firings is None or decision.at < since or (decision.does == "alert" and decision.status != "firing"):
                    continue
                this = (decision.activation, decision.key, decision.at)
                if last[number] != this:  # the effects of one activation come together
                    last[number] = this
                    firings.add(decision.key, decision.at)
    return found


@dataclass(frozen=True, slots=True)
class Variant:
    """A rule with some other values."""

    values: tuple[tuple[str, str], ...]
    """Path and value, as they would stand under `set:` of an override."""
    ruleset: RuleSet


def variants(texts: RuleTexts, rule: str, settings: Mapping[str, Sequence[str]]) -> Iterator[Variant]:
    """The rules with every combination of the values.

    Args:
        texts: of the rules.
        rule: id of the rule that is tuned.
        settings: values by path, or by the end of a path that is the only one with it: `within`, `died.within`.

    Raises:
        DockwardenError: there is no such rule or value, or the rule is not valid with one of them; the message says which.
    """
    report = Report()
    trees = [tree for name, data in texts.rules if (tree := parse_yaml(data, name, report)) is not None]
    known = value_paths(trees, rule)
    if known is None:
        checked = texts.check(Report())
        near = nearest(rule, [draft.id for draft in checked.rules])
        raise DockwardenError(f"unknown rule `{rule}`" + (f"; did you mean {near}?" if near else ""))
    paths = [_path(name, known) for name in settings]
    number = 1
    for choices in settings.values():
        number *= len(choices)
    if number > MAX_VARIANTS:
        raise DockwardenError(f"{number} combinations of values; at most {MAX_VARIANTS} in one pass")
    columns = [[(path, value) for value in choices] for path, choices in zip(paths, settings.values(), strict=True)]
    for combination in itertools.product(*columns):
        values: tuple[tuple[str, str], ...] = combination
        body = ", ".join(f"{_quoted(path)}: {value}" for path, value in values)
        override = f"overrides: [{{rule: {rule}, set: {{{body}}}}}]\n".encode()
        checked = RuleTexts(texts.rules, (*texts.overrides, ("the values to try", override))).check(Report())
        if checked.ruleset is None:
            raise DockwardenError(render_text(finding for finding in checked.findings if finding.is_error).rstrip())
        yield Variant(values, checked.ruleset)


def _quoted(path: str) -> str:
    return '"' + path.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _path(name: str, known: Sequence[str]) -> str:
    ends = [path for path in known if path == name or re.search(rf"(^|\.){re.escape(name)}$", path)]
    if len(ends) == 1:
        return ends[0]
    if ends:
        raise DockwardenError(f"`{name}` could be any of {', '.join(ends)}; write more of it")
    near = nearest(name, [*known, *(path.rpartition(".")[2] for path in known)])
    raise DockwardenError(f"unknown value `{name}`" + (f"; did you mean {near}?" if near else ""))


def with_backtest(
    found: FolderCheck,
    lines: Iterable[bytes],
    *,
    at_most: int,
    since: Micros = 0,
    old: RuleSet | None = None,
) -> FolderCheck:
    """The same with a warning for each changed rule that would have fired more than so many times in the recording.

    Args:
        found: what the check found; with errors in it, it is given back as it is.
        lines: of the recording.
        at_most: firings that need no warning.
        since: firings before this moment are not counted.
        old: the rules before the change; None: every rule counts as changed.
    """
    ruleset, report = found.checked.ruleset, found.checked.report
    if ruleset is None:
        return found
    before = {rule.id: rule.version for rule in old.rules} if old is not None else {}
    changed = frozenset(rule.id for rule in ruleset.rules if before.get(rule.id) != rule.version)
    (fired,) = count_firings([(ruleset, changed)], lines, Faults(), since)
    for rule in ruleset.rules:
        firings = fired.get(rule.id)
        if firings is not None and firings.number > at_most:
            most = ", ".join(f"{key or '(no key)'} ({number})" for key, number in firings.keys.most_common(3))
            place = report.within(Span(rule.position.file, rule.position.line, rule.position.column, len("rule")), rule.id)
            message = f"`{rule.id}` would have fired {firings.number} times in the recording, most on {most}"
            report.add(FIRES_TOO_OFTEN, place, message, expected=f"at most {at_most} (--at-most)")
    return dataclasses.replace(found, findings=report.findings)
