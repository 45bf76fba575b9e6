"""Tests of rules: timelines of facts in virtual time, and what must have been decided at given moments. Pure but for paths.

A test says what it expects, and nothing else of that kind may happen: with `expect: []` nothing fires at all; otherwise each
expectation names what must have been decided by its moment, and rules that no expectation names may do what they like unless the
test says `only: true`. Facts without an id get one from their place (`given-1.3`), so that a difference can be read.
"""

import dataclasses
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.errors import BadFactError, RulesError
from engine.facts import Fact, Retraction
from engine.facts.timestamps import Micros, format_duration, rfc3339
from engine.inference.core import Core
from engine.inference.decision import AlertDecision, Decision
from engine.rule_tests.cases import Case, Expectation, Given
from engine.rules.model import AlertEffect, AssertEffect, MissingPattern, Rule, RuleSet
from engine.rules.reader import FLEET

START: Micros = 1_767_225_600_000_000
"""The moment 0s of every test: 2026-01-01T00:00:00Z."""


@dataclass(slots=True)
class CaseResult:
    """What came of one test."""

    file: str
    name: str
    line: int
    problems: list[str] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)
    fired: set[str] = field(default_factory=set)
    reached: set[str] = field(default_factory=set)
    """Rules that its facts could have made fire, by way of others too."""
    patterns: set[tuple[str, str]] = field(default_factory=set)
    """Patterns (rule, name) that bound something."""
    held_back: set[tuple[str, int]] = field(default_factory=set)
    """`unless` entries (rule, number) that held something back."""

    @property
    def ok(self) -> bool:
        """It passed."""
        return not self.problems


def test_files(folder: Path) -> tuple[Path, ...]:
    """The test files below a folder, by path.

    Raises:
        RulesError: there is no such folder.
    """
    if not folder.is_dir():
        raise RulesError(f"{folder}: there is no such folder")
    found = [
        path
        for pattern in ("*.test.yaml", "*.test.yml")
        for path in folder.rglob(pattern)
        if path.relative_to(folder).parts[0] != FLEET
    ]
    return tuple(sorted(path for path in found if not any(part.startswith(".") for part in path.relative_to(folder).parts)))


test_files.__test__ = False  # type: ignore[attr-defined]  # no test case, whatever pytest thinks of the name


def reachable_rules(ruleset: RuleSet, kinds: Iterable[str]) -> RuleSet:
    """The rules that facts of these kinds can reach, by way of others too. The rest can do nothing, and is not built."""
    reached = set(kinds)
    rest, found = list(ruleset.rules), set[str]()
    while True:
        able = [rule for rule in rest if _can_start(rule, reached)]
        if not able:
            return dataclasses.replace(ruleset, rules=tuple(rule for rule in ruleset.rules if rule.id in found))
        found |= {rule.id for rule in able}
        rest = [rule for rule in rest if rule.id not in found]
        for effect in (effect for rule in able for effect in rule.then):
            if isinstance(effect, AlertEffect):
                reached.add("alert")
            elif isinstance(effect, AssertEffect):
                reached.add(effect.kind)


def _can_start(rule: Rule, kinds: set[str]) -> bool:
    binding = [pattern.kind for pattern in rule.when if not isinstance(pattern, MissingPattern)]
    return not binding or any(kind in kinds for kind in binding)


def run_case(case: Case, ruleset: RuleSet) -> CaseResult:
    """Run one test in virtual time."""
    result = CaseResult(case.file, case.name, case.line)
    core = Core(reachable_rules(ruleset, _kinds(case)), keep_changes=False)
    core.advance(START)
    moments = sorted({expectation.at for expectation in case.expect})
    facts_at: dict[Micros, list[dict[str, Any]]] = {}
    timeline = sorted(_timeline(case, core, result), key=lambda entry: entry[0])
    position = 0
    for moment in (*moments, None):
        while position < len(timeline) and (moment is None or timeline[position][0] <= moment):
            at, item = timeline[position]
            position += 1
            result.decisions += core.advance(START + at)
            result.decisions += core.step(item)
            _note_exercised(core, result)
        if moment is not None:
            result.decisions += core.advance(START + moment)
            _note_exercised(core, result)
            asked = any(expectation.fact for expectation in case.expect if expectation.at == moment)
            facts_at[moment] = [held.fact.to_json_dict() for held in core.memory] if asked else []
    result.reached = {rule.id for rule in core.ruleset.rules}
    result.fired = {decision.rule for decision in result.decisions if decision.does != "alert" or decision.status == "firing"}
    result.problems += [f"the core says: {fault}" for fault in core.faults]
    result.problems += _judge(case, result.decisions, facts_at)
    for node in core.nodes:
        node.retire()
    return result


def _kinds(case: Case) -> set[str]:
    return {str(given.content.get("fact")) for given in case.given}


def _timeline(case: Case, core: Core, result: CaseResult) -> Iterator[tuple[Micros, Fact | Retraction]]:
    for number, given in enumerate(case.given, start=1):
        for at, data in _repeated(given, number):
            try:
                yield at, core.kinds.read(data)
            except BadFactError as error:
                result.problems.append(f"given {number} (line {given.line}): {error}")
                return


def _repeated(given: Given, number: int) -> Iterator[tuple[Micros, dict[str, Any]]]:
    for turn in range(given.times):
        at = given.at + turn * given.every
        data = _numbered(given.content, turn + 1)
        data["at"] = rfc3339(START + at)
        if "retract" not in data:
            data.setdefault("fact_id", f"given-{number}.{turn + 1}" if given.times > 1 else f"given-{number}")
        yield at, data


def _numbered(value: Any, turn: int) -> Any:
    """`{n}` in every text is the number of the repetition, from 1."""
    if isinstance(value, str):
        return value.replace("{n}", str(turn))
    if isinstance(value, dict):
        return {name: _numbered(inner, turn) for name, inner in value.items()}
    if isinstance(value, list):
        return [_numbered(inner, turn) for inner in value]
    return value


def _note_exercised(core: Core, result: CaseResult) -> None:
    """What of the rules was exercised so far."""
    for node in core.nodes:
        for slot in node.slots:
            if slot.passing:
                result.patterns.add((node.rule.id, slot.name))
        for match in node.blocked:
            result.held_back |= {(node.rule.id, n) for n, slot in enumerate(node.unless, start=1) if slot.holds_back(match)}
        result.patterns |= {(node.rule.id, gate.name) for gate in node.gates if gate.was_seen}


# -- judging ----------------------------------------------------------------------------------------------------------


def _judge(case: Case, decisions: list[Decision], facts_at: dict[Micros, list[dict[str, Any]]]) -> list[str]:
    if not case.expect:
        return [f"nothing may fire, but {_shown(decision)}" for decision in decisions]
    problems = [
        problem
        for expectation in case.expect
        if (problem := _unmet(expectation, decisions, facts_at[expectation.at])) is not None
    ]
    if case.only:
        # An alert may have had another text before it had the expected one.
        expected = [dataclasses.replace(it, text=None) for it in case.expect if not it.fact and not it.absent]
        problems += [
            f"only what is expected may fire, but {_shown(decision)}"
            for decision in decisions
            if decision.does in ("alert", "action") and not any(_fits(wanted, decision) for wanted in expected)
        ]
    return problems


def _unmet(expectation: Expectation, decisions: list[Decision], facts: list[dict[str, Any]]) -> str | None:
    if expectation.fact:
        there = any(_has(fact, expectation.fact) for fact in facts)
        if there is not expectation.absent:
            return None
        kind = expectation.fact.get("fact")
        near = [_short(fact) for fact in facts if fact.get("fact") == kind]
        wanted = "no " if expectation.absent else ""
        return (
            f"line {expectation.line}: at {format_duration(expectation.at)} {wanted}fact {_short(expectation.fact)} is expected; "
            f"there {'are' if near else 'is'} {'; '.join(near[:5]) or f'no {kind}'}"
        )
    if expectation.times is not None:
        number = sum(_fits(expectation, decision) for decision in decisions)
        if number == expectation.times:
            return None
        return f"line {expectation.line}: {expectation.described()} is expected; there were {number}"
    fitting = [decision for decision in _latest(expectation, decisions) if _fits(expectation, decision)]
    if bool(fitting) is not expectation.absent:
        return None
    near = [_shown(decision) for decision in decisions if decision.rule == expectation.rule or not expectation.rule]
    return (
        f"line {expectation.line}: {expectation.described()} {'must not be' if expectation.absent else 'is expected'}; "
        f"decided {'was' if near else 'was nothing'}{' ' if near else ''}{'; '.join(near[:8])}"
    )


def _latest(expectation: Expectation, decisions: list[Decision]) -> list[Decision]:
    """For an alert, its last word by that moment: one that was resolved before is not firing."""
    if expectation.alert is None:
        return decisions
    last: dict[tuple[str, str], Decision] = {}
    for decision in decisions:
        if decision.does == "alert" and decision.at <= START + expectation.at:
            last[decision.rule, decision.key] = decision
    return list(last.values())


def _fits(expectation: Expectation, decision: Decision) -> bool:
    """Whether a decision is what is expected: an alert as it stands at that moment, an action by then."""
    if decision.at > START + expectation.at or (expectation.rule and decision.rule != expectation.rule):
        return False
    if expectation.key is not None and decision.key != expectation.key:
        return False
    if expectation.alert is not None:
        return decision.does == "alert" and decision.status == expectation.alert and _text_fits(expectation, decision)
    if expectation.action is not None:
        return decision.does == "action" and decision.action == expectation.action and _has(decision.params, expectation.params)
    if expectation.does is not None:
        return decision.does == expectation.does
    return True


def _text_fits(expectation: Expectation, decision: AlertDecision) -> bool:
    return expectation.text is None or expectation.text in decision.alert.text


def _has(content: dict[str, Any], wanted: dict[str, Any]) -> bool:
    return all(content.get(name) == value for name, value in wanted.items())


def _short(content: dict[str, Any]) -> str:
    shown = {name: value for name, value in content.items() if name not in ("fact_id", "at", "host", "source", "ttl", "labels")}
    return json.dumps(shown, ensure_ascii=False)[:200]


def _shown(decision: Decision) -> str:
    at = format_duration(decision.at - START)
    key = f" [{decision.key}]" if decision.key else ""
    match decision.does:
        case "alert":
            what = f"alert {decision.status}"
        case "action":
            what = f"action {decision.action} {_short(decision.params)}"
        case _:
            what = f"{decision.does} {_short(decision.fact.to_json_dict())}"
    return f"{decision.rule}{key} at {at}: {what}"


def run_all(cases: Iterable[Case], ruleset: RuleSet) -> Iterator[CaseResult]:
    """Run every test; compiled joins are shared among them."""
    for case in cases:
        yield run_case(case, ruleset)
