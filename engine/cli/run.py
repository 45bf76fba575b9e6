"""`dockwarden run`."""

import asyncio
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import structlog
import uvloop

from engine.cli.targets import chosen_rules
from engine.errors import DockwardenError
from engine.facts import Fact, Retraction
from engine.logging import set_up
from engine.settings import Settings, load_settings
from engine.sidecar.process import Plan, serve, state_folder
from engine.sidecar.rule_reload import Start, reloading, rules_at_start

_log = structlog.get_logger(__name__)


def run_sidecar(*, config: Path | None, rules: Path | None, state: Path | None, act: bool | None, record: Path | None) -> int:
    """Run until told to stop.

    Raises:
        DockwardenError: settings or rules are faulty, or a part cannot be started; nothing runs then.
    """
    settings = load_settings(config, _over(rules, state, act))
    set_up(settings.log_format)
    state_folder(settings.state)
    start = rules_at_start(chosen_rules(settings), settings)
    with _recorder(record) as write:
        return _run(settings, start, write)


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


@contextmanager
def _recorder(file: Path | None) -> Iterator[Callable[[Fact | Retraction], None] | None]:
    if file is None:
        yield None
        return
    try:
        out = file.open("a", encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise DockwardenError(f"{file}: cannot be written: {error.strerror}") from error
    refused = False

    def write(fact: Fact | Retraction) -> None:
        nonlocal refused
        if refused:
            return
        try:
            out.write(json.dumps(fact.to_json_dict(), ensure_ascii=False) + "\n")
        except OSError as error:  # a full disk ends the recording, not the sidecar
            refused = True
            _log.error("the recording ends here", action="record", file=str(file), error=error.strerror)

    try:
        yield write
    finally:
        with suppress(OSError):  # said above, or nobody is there any more who could do something about it
            out.close()
