"""Rules at the start, and rules that change while the sidecar runs.

A good change is in force at once, and what is unchanged keeps its state; a bad one is refused whole: the last good set stays in
force, a restart loads it too, and a `source` fact says what is wrong, which a rule makes an alert of.
"""

import asyncio
from collections.abc import Iterator
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import structlog

from engine.errors import DockwardenError, RulesError, SourceError
from engine.facts.host import Source
from engine.facts.timestamps import from_micros
from engine.journal.records import AuditRow
from engine.logparse import Wanted, WantedLines
from engine.pipeline.intake import Intake, JournalNote, RulesAccepted
from engine.ports.clock import Clock
from engine.ports.rules import Git
from engine.rules.log_lines import wanted_lines
from engine.rules.model import RuleSet
from engine.settings import Settings
from engine.sidecar.last_good_rules import NAME, last_good, to_json
from engine.sidecar.rule_source import GitSource, LoadedRules, RuleSource, UnusableRulesError, source_of

_log = structlog.get_logger(__name__)

ERROR_CHARS = 1000
"""Of what is wrong, in a fact and so in an alert. The whole report is logged."""

Problem = Literal["rules", "rules_repo"]
"""Name of the `source` fact: what was read is refused, or it cannot be read at present."""


@dataclass(frozen=True, slots=True)
class Start:
    """Rules to start with. `problem` says what was wrong with those that should have been used, if anything."""

    loaded: LoadedRules
    source: RuleSource
    problem: tuple[Problem, str] | None = None


def rules_at_start(place: Path, settings: Settings, git: Git) -> Start:
    """The rules that the settings name; those that were in force last when these must not or cannot be used.

    Raises:
        RulesError: they must not be used, and there are no last good ones; the message is the whole report.
        DockwardenError: they cannot be read, likewise.
    """
    return asyncio.run(_at_start(source_of(place, settings, git), settings.state))


async def _at_start(source: RuleSource, state: Path) -> Start:
    try:
        loaded = await source.read()
    except RulesError as error:
        before = last_good(state, source.where)
        if before is None:
            raise
        _log.error("rules_refused", error=str(error), in_force=before.version)
        return Start(before, source, ("rules", _brief(error)))
    except SourceError as error:
        before = await _without_asking(source) or last_good(state, source.where)
        if before is None:
            raise DockwardenError(f"the rules cannot be read: {error}") from error
        return Start(before, source, ("rules_repo", str(error)))
    await source.took(loaded)
    return Start(loaded, source)


async def _without_asking(source: RuleSource) -> LoadedRules | None:
    if not isinstance(source, GitSource):
        return None
    try:
        return await source.in_force()
    except (RulesError, SourceError):
        return None


def wanted_by(rules: RuleSet) -> Iterator[Wanted]:
    """What the rules ask of logs, as the logs' prefilter takes it."""
    return (Wanted(*asked) for asked in wanted_lines(rules))


async def follow_rules(start: Start, intake: Intake, clock: Clock, wanted: WantedLines) -> None:
    """Follow the rules until cancelled. `wanted`: what they ask of logs, kept as the rules in force have it."""
    reload = _Reload(start, intake, clock, wanted)
    await reload.begin()
    async with aclosing(start.source.changes()) as changes:
        async for _ in changes:
            await reload.read()


class _Reload:
    """What is in force, and what was reported to be wrong."""

    def __init__(self, start: Start, intake: Intake, clock: Clock, wanted: WantedLines) -> None:
        self._start = start
        self._intake = intake
        self._clock = clock
        self._wanted = wanted
        self._in_force = start.loaded
        self._reported: dict[Problem, str] = {}

    async def begin(self) -> None:
        """Report what is wrong, or that nothing is any more: an earlier process may have reported otherwise."""
        problem = self._start.problem
        if problem is None:
            await self._note(self._in_force)
        names: tuple[Problem, ...] = ("rules", "rules_repo") if isinstance(self._start.source, GitSource) else ("rules",)
        for name in names:
            await self._report(name, problem[1] if problem is not None and problem[0] == name else "", again=True)

    async def read(self) -> None:
        """Read the rules anew, and put them in force when they are good and others."""
        try:
            new = await self._start.source.read()
        except RulesError as error:
            brief = _brief(error)
            if self._reported.get("rules") != brief:
                _log.error("rules_refused", error=str(error), in_force=self._in_force.version)
            await self._report("rules", brief)
            return
        except SourceError as error:
            if self._reported.get("rules_repo") != str(error):
                _log.error("rules_unreadable", error=str(error), in_force=self._in_force.version)
            await self._report("rules_repo", str(error))
            return
        if new.version != self._in_force.version:
            self._wanted.replace(wanted_by(new.ruleset))
            await self._intake.put(RulesAccepted(new.ruleset, new.version))
            await self._note(new)
        await self._start.source.took(new)
        self._in_force = new
        await self._report("rules", "")
        await self._report("rules_repo", "")

    async def _note(self, loaded: LoadedRules) -> None:
        """In the audit, and in the journal as the last good ones, both of one transaction."""
        text = to_json(loaded)
        if text is None:
            _log.warning("rules_too_large_to_remember", version=loaded.version)
        await self._intake.put(JournalNote((self._audit("in force", loaded, ""),), {} if text is None else {NAME: text}))

    async def _report(self, name: Problem, error: str, *, again: bool = False) -> None:
        if not again and self._reported.get(name, "") == error:
            return
        self._reported[name] = error
        if error:
            row = self._audit("refused" if name == "rules" else "unreachable", self._in_force, error)
            await self._intake.put(JournalNote((row,)))
        at = from_micros(self._clock.wall())
        fact = Source.report(name, "lost" if error else "ok", at=at, emitted_by="dockwarden", error=error[:ERROR_CHARS])
        await self._intake.sink(name).put([fact])

    def _audit(self, verdict: str, loaded: LoadedRules, reason: str) -> AuditRow:
        """An entry on rules; the version is that of the rules in force."""
        detail = {"version": loaded.version, "commit": loaded.commit, "where": loaded.where}
        return AuditRow(at=self._clock.wall(), kind="rules", verdict=verdict, reason=reason, detail=detail)


def _brief(error: RulesError) -> str:
    return error.brief if isinstance(error, UnusableRulesError) else str(error)
