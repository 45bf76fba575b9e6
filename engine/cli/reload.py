"""Rules at the start, and rules that change while the sidecar runs.

A good change is in force at once, and what is unchanged keeps its state; a bad one is refused whole: the last good set stays in
force, and a `source` fact says what is wrong, which a rule makes an alert of.
"""

import asyncio
from dataclasses import dataclass
from pathlib import Path

import structlog
from watchfiles import awatch

from engine.cli.serve import Running
from engine.errors import RulesError
from engine.facts.clock import from_micros
from engine.facts.host import Source
from engine.rules.model import RuleSet
from engine.rules.reader import Checked, read_rules, render_text
from engine.runtime.intake import Ask
from engine.runtime.sidecar import wall_clock
from engine.settings import Settings

_log = structlog.get_logger(__name__)

SETTLE_MS = 200
"""An editor or a checkout writes several files: the folder is read when nothing has changed for so long."""

LOOK_AGAIN_S = 30.0
"""The folder is looked at this often even when nothing was noticed: a swapped link on a network file system tells nobody."""


@dataclass(frozen=True, slots=True)
class LoadedRules:
    """A rule set and where it is from."""

    folder: Path
    ruleset: RuleSet
    version: str


def load_rules(folder: Path, settings: Settings) -> LoadedRules:
    """Read and check the rules.

    Raises:
        RulesError: there is an error among them; the message is the whole report.
    """
    del settings
    checked = read_rules(folder)
    return LoadedRules(folder, _usable(folder, checked), checked.ruleset.version[:12] if checked.ruleset else "")


def _usable(folder: Path, checked: Checked) -> RuleSet:
    if checked.ruleset is None:
        raise RulesError(f"the rules in {folder} cannot be used:\n{render_text(checked.findings)}")
    if not checked.ruleset.rules:
        raise RulesError(f"{folder} holds no rules: *.yaml files with a list `rules:` are looked for")
    return checked.ruleset


async def reloading(running: Running, loaded: LoadedRules) -> None:
    """Watch the folder until cancelled."""
    in_force = loaded.version
    refused = ""
    while True:
        await _changed(loaded.folder)
        try:
            new = await asyncio.to_thread(load_rules, loaded.folder, running.plan.settings)
        except RulesError as error:
            if str(error) != refused:
                refused = str(error)
                _log.error("changed rules are refused; those before stay in force", action="reload", error=refused)
                await _tell(running, error=refused)
            continue
        if new.version == in_force and not refused:
            continue
        refused = ""
        in_force = new.version
        await _put_in_force(running, new)


async def _changed(folder: Path) -> None:
    """Return when something below the folder changed, or a while has passed."""
    stop = asyncio.Event()
    watched = await asyncio.to_thread(_places, folder)
    handle = asyncio.get_running_loop().call_later(LOOK_AGAIN_S, stop.set)
    try:
        async for _ in awatch(*watched, stop_event=stop, step=50, debounce=SETTLE_MS, rust_timeout=2000):
            return
    except FileNotFoundError:
        await asyncio.sleep(1.0)  # in the middle of a swap
    finally:
        handle.cancel()


def _places(folder: Path) -> set[Path]:
    """The folder; and where it is a symbolic link, the one that holds the link too."""
    target = folder.resolve()
    return {target} if target == folder.absolute() else {target, folder.absolute().parent}


async def _put_in_force(running: Running, new: LoadedRules) -> None:
    async def replace() -> None:
        running.sidecar.replace_rules(new.ruleset, new.version)
        _log.info("rules are in force", action="reload", version=new.version, rules=len(new.ruleset.rules))

    await running.intake.put(Ask(replace))
    await _tell(running, error=None)


async def _tell(running: Running, *, error: str | None) -> None:
    now = from_micros(wall_clock())
    fact = Source(
        at=now,
        source="dockwarden",
        name="rules",
        status="ok" if error is None else "lost",
        since=now,
        error=None if error is None else error[:4000],
        fact_id=f"rules-{wall_clock()}",
    )
    await running.intake.sink("rules").put([fact])
