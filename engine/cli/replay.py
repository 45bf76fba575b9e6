"""`dockwarden replay`: recorded facts through the core, by their own clock; no real time enters, so it is deterministic."""

import json
import sys
from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from rich.text import Text

from engine.cli.rules import usable_rules
from engine.cli.targets import chosen_layers, rules_folder
from engine.errors import BadFactError, DockwardenError
from engine.facts.timestamps import rfc3339, to_micros
from engine.inference.core import Core
from engine.inference.decision import Decision
from engine.inference.ledger import encode
from engine.replay.recording import Faults, open_facts, out, read_facts


def replay_facts(
    file: str,
    *,
    rules: Path | None,
    against: Path | None,
    output: str,
    host: str | None = None,
    groups: list[str] | None = None,
) -> int:
    """Print what the rules decide, with the overrides of a host; 1 when lines could not be read."""
    layers = chosen_layers(host, groups)
    if against is not None:
        from engine.cli.compare import compare_rules  # noqa: PLC0415  only when asked

        return compare_rules(file, rules_folder(rules), against, output, layers)
    core = Core(usable_rules(rules_folder(rules), layers), keep_changes=False)
    faults = Faults()
    show = _show_json if output == "json" else _show_text
    with open_facts(file) as lines:
        for fact in read_facts(lines, core.kinds, faults):
            try:
                decisions = core.step(fact)
            except BadFactError as error:
                faults.add_here(error)
                continue
            if core.faults:
                faults.take(core.faults)
            for decision in decisions:
                show(decision)
    faults.take(core.faults)
    return faults.say()


def run_to(lines: Iterable[bytes], folder: Path, at: str | None, layers: Iterable[str] = ()) -> Core:
    """The core after the facts up to a moment (None: after all of them).

    Raises:
        DockwardenError: the moment cannot be read.
    """
    core = Core(usable_rules(folder, layers), keep_changes=False)
    moment = None
    if at is not None:
        try:
            moment = to_micros(datetime.fromisoformat(at))
        except (ValueError, TypeError) as error:
            raise DockwardenError(f"--at {at}: no moment such as 2026-11-20T16:51:52Z") from error
    for fact in read_facts(lines, core.kinds, Faults()):
        if moment is not None and fact.at_micros > moment:
            break
        with suppress(BadFactError):  # as the lines that cannot be read: `replay` is there to tell of them
            core.step(fact)
    if moment is not None:
        core.advance(moment)
    return core


def _show_json(decision: Decision) -> None:
    sys.stdout.write(encode_decision(decision) + "\n")


def encode_decision(decision: Decision) -> str:
    """One line of JSON output."""
    return json.dumps(decision.to_json_dict(), ensure_ascii=True, separators=(",", ":"))


_STYLES = {"critical": "bold red", "error": "red", "warning": "yellow", "info": "cyan"}


def _show_text(decision: Decision) -> None:
    out.print(decision_text(decision))


def decision_text(decision: Decision) -> Text:
    """One line for people."""
    line = Text(f"{rfc3339(decision.at)}  ", style="dim")
    key = f" [{decision.key}]" if decision.key else ""
    line.append(f"{decision.rule}{key}  ", style="bold")
    if decision.alert is not None:
        style = _STYLES.get(decision.alert.severity, "") if decision.status == "firing" else "green"
        line.append(f"{decision.status} {decision.alert.severity}: {decision.alert.text}", style=style)
    elif decision.action is not None:
        params = ", ".join(f"{name}={value}" for name, value in decision.params.items())
        line.append(f"do {decision.action} {params}", style="cyan")
    elif decision.fact is not None:
        line.append(f"{decision.does} {encode(decision.fact.to_json_dict())}")
    return line
