"""`dockwarden run`."""

import asyncio
import os
import shutil
import sys
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import uvloop

from engine.cli.targets import chosen_rules
from engine.logging import set_up
from engine.replay.recording import RecordingWriter
from engine.settings import load_settings
from engine.sidecar.composition import RulesGit
from engine.sidecar.process import ExitDeadline, Plan, serve, state_folder
from engine.sidecar.rule_reload import rules_at_start


def run_sidecar(*, config: Path | None, rules: Path | None, state: Path | None, act: bool | None, record: Path | None) -> int:
    """Run until told to stop.

    Raises:
        DockwardenError: settings or rules are faulty, or a part cannot be started; nothing runs then.
    """
    os.umask(0o077)  # state, recordings and logs of a root process are nobody else's
    settings = load_settings(config, _over(rules, state, act))
    set_up(settings.log_format, background=True)
    state_folder(settings.state)
    start = rules_at_start(chosen_rules(settings), settings, RulesGit())
    with (
        RecordingWriter(record) if record is not None else nullcontext() as recording,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        write = recording.write if recording is not None else None
        plan = Plan(settings, start, partial(print, flush=True), write, own_command(Path(sys.argv[0])))
        return runner.run(serve(plan, deadline=ExitDeadline()))


def own_command(called: Path) -> str:
    """What to type for the program that was called by this path: its name where the PATH leads to it, else the full path."""
    found = shutil.which(called.name)
    return called.name if found is not None and Path(found).resolve() == called.resolve() else str(called.absolute())


def _over(rules: Path | None, state: Path | None, act: bool | None) -> dict[str, object]:
    over: dict[str, object] = {}
    if rules is not None:
        over["rules"] = rules
    if state is not None:
        over["state"] = state
    if act is not None:
        over["mode"] = "act" if act else "observe"
    return over
