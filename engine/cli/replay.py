"""`dockwarden replay`: recorded facts through the core, by their own clock; no real time enters, so it is deterministic."""

import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from rich.console import Console
from rich.text import Text

from engine.cli.choose import rules_folder
from engine.cli.rules import usable_rules
from engine.errors import BadFactError, DockwardenError
from engine.facts import Fact, FactKinds, Retraction
from engine.facts.clock import rfc3339, to_micros
from engine.inference.core import Core
from engine.inference.decision import Decision
from engine.inference.ledger import encode

LINE_BYTES = 4 * 1024 * 1024
"""A longer line is no fact."""


@contextmanager
def open_facts(file: str) -> Iterator[BinaryIO]:
    """The file, or standard input for `-`.

    Raises:
        DockwardenError: it cannot be read.
    """
    if file == "-":
        yield sys.stdin.buffer
        return
    try:
        opened = Path(file).open("rb")  # noqa: SIM115  closed below; opening alone is what may fail here
    except OSError as error:
        raise DockwardenError(f"{file}: cannot be read: {error.strerror}") from error
    with opened:
        yield opened


def read_facts(lines: Iterable[bytes], kinds: FactKinds, faults: list[str]) -> Iterator[Fact | Retraction]:
    """Facts from JSON lines. A line that is none is a fault with its number; the others go on.

    A fact without an id is given its line's number as one: the same file gives the same ids.
    """
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            if len(line) > LINE_BYTES:
                raise BadFactError(f"longer than {LINE_BYTES} bytes")  # noqa: TRY301
            data = json.loads(line)
            if not isinstance(data, dict):
                raise BadFactError("a fact is a JSON object")  # noqa: TRY301
            if not data.get("fact_id"):
                data["fact_id"] = f"line-{number}"
            yield kinds.read(data)
        except (BadFactError, ValueError, RecursionError) as error:
            faults.append(f"line {number}: {error}")


def replay_facts(file: str, *, rules: Path | None, against: Path | None, output: str) -> int:
    """Print what the rules decide; 1 when lines could not be read."""
    if against is not None:
        from engine.cli.compare import compare_rules  # noqa: PLC0415  only when asked

        return compare_rules(file, rules_folder(rules), against, output)
    core = Core(usable_rules(rules_folder(rules)), keep_changes=False)
    faults: list[str] = []
    show = _show_json if output == "json" else _show_text
    with open_facts(file) as lines:
        for fact in read_facts(lines, core.kinds, faults):
            try:
                decisions = core.step(fact)
            except BadFactError as error:
                faults.append(str(error))
                continue
            for decision in decisions:
                show(decision)
    return say_faults([*faults, *core.faults])


def say_faults(faults: list[str]) -> int:
    """Say what could not be read; the exit code."""
    for fault in faults[:20]:
        print(f"dockwarden: {fault}", file=sys.stderr)
    if len(faults) > 20:  # noqa: PLR2004  as above
        print(f"dockwarden: … and {len(faults) - 20} more", file=sys.stderr)
    return 1 if faults else 0


def run_to(lines: Iterable[bytes], folder: Path, at: str | None) -> Core:
    """The core after the facts up to a moment (None: after all of them).

    Raises:
        DockwardenError: the moment cannot be read.
    """
    core = Core(usable_rules(folder), keep_changes=False)
    moment = None
    if at is not None:
        try:
            moment = to_micros(datetime.fromisoformat(at))
        except (ValueError, TypeError) as error:
            raise DockwardenError(f"--at {at}: no moment such as 2026-11-20T16:51:52Z") from error
    for fact in read_facts(lines, core.kinds, []):
        if moment is not None and fact.at_micros > moment:
            break
        core.step(fact)
    if moment is not None:
        core.advance(moment)
    return core


def _show_json(decision: Decision) -> None:
    sys.stdout.write(encode_decision(decision) + "\n")


def encode_decision(decision: Decision) -> str:
    """One line of JSON output."""
    return json.dumps(decision.to_json_dict(), ensure_ascii=True, separators=(",", ":"))


_console = Console(highlight=False, soft_wrap=True)
_STYLES = {"critical": "bold red", "error": "red", "warning": "yellow", "info": "cyan"}


def _show_text(decision: Decision) -> None:
    _console.print(decision_text(decision))


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
