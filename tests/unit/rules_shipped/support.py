"""Published lines through the parsers and the shipped rules, without a process, a clock or a log in between."""

import functools
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from engine.facts import Fact
from engine.facts.timestamps import to_micros
from engine.inference.core import Core
from engine.inference.decision import ActionDecision, AlertDecision, Decision
from engine.logparse import LineParser, LogSource, ReportAssembler
from engine.rules.model import RuleSet
from engine.rules.reader import read_rules, render_text
from engine.rules.shipped import shipped_rules

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


@functools.cache
def ruleset() -> RuleSet:
    """The rules that ship."""
    checked = read_rules(shipped_rules())
    assert checked.ruleset is not None, render_text(checked.findings)
    return checked.ruleset


def parsed(source: LogSource, *lines: str) -> list[Fact]:
    """What `dockwarden parse` says of the lines, a second apart where they bear no time of their own."""
    parser = LineParser(source)
    facts = [parser.feed(line, NOW + timedelta(seconds=number)) for number, line in enumerate(lines)]
    return [fact for fact in facts if fact is not None]


def received(lines: Iterable[str], *, every: timedelta) -> list[Fact]:
    """What a kernel log that is followed tells: one fact for a report, however many lines it has."""
    assembler = ReportAssembler("kernel")
    facts = []
    at = NOW
    for line in lines:
        facts += assembler.feed(line, at)
        at += every
    return [*facts, *assembler.flush(at)]


class Rules:
    """The shipped rules at work."""

    def __init__(self) -> None:
        self._core = Core(ruleset(), keep_changes=False)
        self.decisions: list[Decision] = []

    def tell(self, *facts: Fact) -> None:
        """Facts, in the order of their time."""
        for number, fact in enumerate(facts):
            told = fact if fact.fact_id else fact.with_id(f"told-{len(self.decisions)}-{number}-{fact.at_micros}")
            self.decisions += self._core.step(told)

    def wait_until(self, at: datetime) -> None:
        """Let time pass."""
        self.decisions += self._core.advance(to_micros(at))

    def alerts(self, rule: str, status: str = "firing") -> list[tuple[str, str]]:
        """Key and text of each time that an alert was said."""
        return [
            (decision.key, decision.alert.text)
            for decision in self.decisions
            if isinstance(decision, AlertDecision) and decision.rule == rule and decision.status == status
        ]

    def actions(self) -> list[str]:
        """What was asked for."""
        return [decision.action for decision in self.decisions if isinstance(decision, ActionDecision)]
