"""`dockwarden run`."""

import asyncio
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import uvloop

from engine.cli.targets import chosen_rules
from engine.facts import Fact, Retraction
from engine.logging import set_up
from engine.replay.recording import RecordingWriter
from engine.settings import Settings, load_settings
from engine.sidecar.process import Plan, serve, state_folder
from engine.sidecar.rule_reload import Start, reloading, rules_at_start


def run_sidecar(*, config: Path | None, rules: Path | None, state: Path | None, act: bool | None, record: Path | None) -> int:
    """Run until told to stop.

    Raises:
        DockwardenError: settings or rules are faulty, or a part cannot be started; nothing runs then.
    """
    settings = load_settings(config, _over(rules, state, act))
    set_up(settings.log_format)
    state_folder(settings.state)
    start = rules_at_start(chosen_rules(settings), settings)
    with RecordingWriter(record) if record is not None else nullcontext() as recording:
        return _run(settings, start, recording.write if recording is not None else None)


def _over(rules: Path | None, state: Path | None, act: bool | None) -> dict[str, object]:
    over: dict[str, object] = {}
    if rules is not None:
        over["rules"] = rules
    if state is not None:
        over["state"] = state
    if act is not None:
        over["mode"] = "act" if act else "observe"
    return over


def _run(settings: Settings, start: Start, record: Callable[[Fact | Retraction], None] | None) -> int:
    loaded = start.loaded
    plan = Plan(
        settings=settings,
        ruleset=loaded.ruleset,
        rules_version=loaded.version,
        rules_from=loaded.where,
        say=lambda line: print(line, file=sys.stdout, flush=True),
        record=record,
        extra_tasks=[lambda running: reloading(running, start)],
    )
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(serve(plan))
