"""`dockwarden replay`: what the rules decide on recorded facts, and with `--against` what other rules decide differently."""

import gc
import json
import sys
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path

from rich.text import Text

from engine.cli.targets import chosen_layers, load_rules, rules_folder
from engine.cli.terminal import open_facts, out, print_faults, recorded
from engine.facts.timestamps import Micros, format_duration, rfc3339
from engine.inference.change_log import encode
from engine.inference.decision import ActionDecision, AlertDecision, AssertDecision, Decision, RetractDecision
from engine.replay.comparison import WITHIN, Comparison, Difference, compare
from engine.replay.player import play
from engine.replay.recording import Faults

_STYLES = {"critical": "bold red", "error": "red", "warning": "yellow", "info": "cyan"}
_MARKS = {"added": ("+", "green"), "removed": ("-", "red"), "moved": (">", "yellow"), "changed": ("~", "yellow")}


def replay_facts(
    file: str | None,
    *,
    rules: Path | None,
    against: Path | None,
    output: str,
    host: str | None = None,
    groups: list[str] | None = None,
    since: str = "7d",
    state: Path | None = None,
) -> int:
    """Print what the rules decide, with the overrides of a host; 1 when lines could not be read.

    Without a file, on what the sidecar recorded itself; decisions before `since` are not printed then.

    Raises:
        DockwardenError: the file cannot be read, or a folder of rules is unusable.
    """
    layers = chosen_layers(host, groups)
    ruleset, faults = load_rules(rules_folder(rules), layers), Faults()
    # What was loaded so far stays, and facts form no cycles: collecting seldom saves a twentieth of the time.
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    moment: Micros = 0
    lines: Iterable[bytes]
    with ExitStack() as stack:
        if file is None:
            lines, moment = recorded(state, None, since)
        else:
            lines = stack.enter_context(open_facts(file))
        if against is not None:
            other, comparison = load_rules(against, layers), Comparison()
            for difference in compare(ruleset, other, lines, faults, comparison):
                if difference.shown.at < moment:
                    continue
                if output == "json":
                    _print_json(difference.to_json_dict())
                else:
                    out.print(_difference_text(difference))
            _print_counts(comparison, output)
        else:
            for decision in play(ruleset, lines, faults):
                if decision.at < moment:
                    continue
                if output == "json":
                    _print_json(decision.to_json_dict())
                else:
                    out.print(decision_text(decision))
    return print_faults(faults)


def _print_json(line: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(line, ensure_ascii=True, separators=(",", ":")) + "\n")


def decision_text(decision: Decision) -> Text:
    """One line for people."""
    line = Text(f"{rfc3339(decision.at)}  ", style="dim")
    key = f" [{decision.key}]" if decision.key else ""
    line.append(f"{decision.rule}{key}  ", style="bold")
    match decision:
        case AlertDecision(status=status, alert=alert):
            style = _STYLES.get(alert.severity, "") if status == "firing" else "green"
            line.append(f"{status} {alert.severity}: {alert.text}", style=style)
        case ActionDecision(action=action, params=params):
            shown = ", ".join(f"{name}={value}" for name, value in params.items())
            line.append(f"do {action} {shown}", style="cyan")
        case AssertDecision(fact=fact) | RetractDecision(fact=fact):
            line.append(f"{decision.does} {encode(fact.to_json_dict())}")
    return line


def _difference_text(difference: Difference) -> Text:
    mark, style = _MARKS[difference.what]
    line = Text(f"{mark} {difference.what:<8}", style=style) + decision_text(difference.shown)
    if difference.old is not None and difference.new is not None:
        apart = difference.new.at - difference.old.at
        if apart:
            line.append(f"  ({format_duration(abs(apart))} {'later' if apart > 0 else 'earlier'})", style=style)
        elif isinstance(difference.old, AlertDecision):
            line.append(f"  (was {difference.old.alert.severity}: {difference.old.alert.text})", style=style)
    return line


def _print_counts(comparison: Comparison, output: str) -> None:
    counts = {what: comparison.counts[what] for what in ("added", "removed", "moved", "changed")}
    if output == "json":
        summary = {"facts": comparison.facts, "same": comparison.same, **counts, "cut_short": comparison.cut_short}
        _print_json({"summary": summary})
        return
    listed = ", ".join(f"{amount} {what}" for what, amount in counts.items())
    out.print(Text(f"{comparison.facts} facts: {comparison.same} alerts and actions are the same, {listed}", style="bold"))
    if comparison.cut_short:
        what = f"{comparison.cut_short} were printed before {format_duration(WITHIN)} were over, there were so many"
        out.print(Text(f"{what}: some of them may be moves", style="yellow"))
