"""Rules at the start, and rules that change while the sidecar runs.

A good change is in force at once, and what is unchanged keeps its state; a bad one is refused whole: the last good set stays in
force, a restart loads it too, and a `source` fact says what is wrong, which a rule makes an alert of.
"""

import asyncio
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import structlog

from engine.errors import DockwardenError, RulesError, SourceError
from engine.facts.host import Source
from engine.facts.timestamps import from_micros
from engine.journal.records import AuditRow
from engine.pipeline.clock import wall_clock
from engine.pipeline.intake import Ask
from engine.settings import Settings
from engine.sidecar.last_good_rules import NAME, kept, last_good
from engine.sidecar.process import Running
from engine.sidecar.rule_source import GitSource, LoadedRules, RuleSource, UnusableRulesError, source_of

_log = structlog.get_logger(__name__)

ERROR_CHARS = 1000
"""Of what is wrong, in a fact and so in an alert. The whole report is logged."""

Trouble = Literal["rules", "rules_repo"]
"""Name of the `source` fact: what was read is refused, or it cannot be read at present."""


@dataclass(frozen=True, slots=True)
class Start:
    """Rules to start with. `trouble` says what was wrong with those that should have been used, if anything."""

    loaded: LoadedRules
    source: RuleSource
    trouble: tuple[Trouble, str] | None = None


def rules_at_start(place: Path, settings: Settings) -> Start:
    """The rules that the settings name; those that were in force last when these must not or cannot be used.

    Raises:
        RulesError: they must not be used, and there are no last good ones; the message is the whole report.
        DockwardenError: they cannot be read, likewise.
    """
    return asyncio.run(_at_start(source_of(place, settings), settings.state))


async def _at_start(source: RuleSource, state: Path) -> Start:
    try:
        loaded = await source.read()
    except RulesError as error:
        before = last_good(state, source.where)
        if before is None:
            raise
        _log.error("the rules are refused, the last good ones are in force", action="reload", error=str(error))
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


async def reloading(running: Running, start: Start) -> None:
    """Follow the rules until cancelled."""
    watch = _Reloading(running, start)
    await watch.begin()
    async with aclosing(start.source.changes()) as changes:
        async for _ in changes:
            await watch.read()


class _Reloading:
    """What is in force, and what was said to be wrong."""

    def __init__(self, running: Running, start: Start) -> None:
        self._running = running
        self._start = start
        self._in_force = start.loaded
        self._told: dict[Trouble, str] = {}

    async def begin(self) -> None:
        """Say what is wrong, or that nothing is any more: an earlier process may have said otherwise."""
        trouble = self._start.trouble
        if trouble is None:
            await self._note(self._in_force)
        names: tuple[Trouble, ...] = ("rules", "rules_repo") if isinstance(self._start.source, GitSource) else ("rules",)
        for name in names:
            await self._say(name, trouble[1] if trouble is not None and trouble[0] == name else "", again=True)

    async def read(self) -> None:
        """Read the rules anew, and put them in force when they are good and others."""
        try:
            new = await self._start.source.read()
        except RulesError as error:
            brief = _brief(error)
            if self._told.get("rules") != brief:
                _log.error("changed rules are refused, those before stay in force", action="reload", error=str(error))
            await self._say("rules", brief)
            return
        except SourceError as error:
            if self._told.get("rules_repo") != str(error):
                _log.error("the rules cannot be read, those before stay in force", action="reload", error=str(error))
            await self._say("rules_repo", str(error))
            return
        if new.version != self._in_force.version:
            await self._put_in_force(new)
        await self._start.source.took(new)
        self._in_force = new
        await self._say("rules", "")
        await self._say("rules_repo", "")

    async def _put_in_force(self, new: LoadedRules) -> None:
        sidecar = self._running.sidecar

        async def replace() -> None:
            sidecar.replace_rules(new.ruleset, new.version)
            _log.info("rules are in force", action="reload", version=new.version, rules=len(new.ruleset.rules))

        await self._running.intake.put(Ask(replace))
        await self._note(new)

    async def _note(self, loaded: LoadedRules) -> None:
        """In the audit, and in the journal as the last good ones, both of one transaction."""
        sidecar, text = self._running.sidecar, kept(loaded)
        if text is None:
            _log.warning("the rules are too large to be kept for a restart", action="reload", version=loaded.version)

        async def note() -> None:
            sidecar.note(_audit("in force", loaded, ""))
            if text is not None:
                sidecar.remember(NAME, text)

        await self._running.intake.put(Ask(note))

    async def _say(self, name: Trouble, error: str, *, again: bool = False) -> None:
        if not again and self._told.get(name, "") == error:
            return
        self._told[name] = error
        if error:
            sidecar, in_force = self._running.sidecar, self._in_force

            async def note() -> None:
                sidecar.note(_audit("refused" if name == "rules" else "unreachable", in_force, error))

            await self._running.intake.put(Ask(note))
        now = from_micros(wall_clock())
        fact = Source(
            at=now,
            source="dockwarden",
            name=name,
            status="lost" if error else "ok",
            since=now,
            error=error[:ERROR_CHARS] or None,
            fact_id=f"{name}-{wall_clock()}",
        )
        await self._running.intake.sink(name).put([fact])


def _brief(error: RulesError) -> str:
    return error.brief if isinstance(error, UnusableRulesError) else str(error)


def _audit(verdict: str, loaded: LoadedRules, reason: str) -> AuditRow:
    """An entry on rules; the version is that of the rules in force."""
    detail = {"version": loaded.version, "commit": loaded.commit, "where": loaded.where}
    return AuditRow(at=wall_clock(), kind="rules", verdict=verdict, reason=reason, detail=detail)
