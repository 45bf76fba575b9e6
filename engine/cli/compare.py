"""`dockwarden replay FILE --rules OLD --against NEW`: what a change of rules would have meant, in one pass over a recording."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.text import Text

from engine.cli.replay import decision_text
from engine.cli.rules import usable_rules
from engine.errors import BadFactError
from engine.facts import Fact, FactKinds, Retraction
from engine.facts.timestamps import format_duration
from engine.inference.core import Core
from engine.inference.decision import Decision
from engine.replay.comparison import WITHIN, Comparison, Difference
from engine.replay.recording import Faults, open_facts, out, read_facts

_MARKS = {"added": ("+", "green"), "removed": ("-", "red"), "moved": (">", "yellow"), "changed": ("~", "yellow")}


def compare_rules(file: str, old: Path, new: Path, output: str, layers: Sequence[str] = ()) -> int:
    """Print which alerts and actions the new rules add, remove, move or say otherwise; 1 when lines could not be read.

    A difference is no fault: the exit code does not speak of it, the counts at the end do.

    Raises:
        DockwardenError: the file cannot be read, or either folder of rules is unusable.
    """
    cores = (Core(usable_rules(old, layers), keep_changes=False), Core(usable_rules(new, layers), keep_changes=False))
    kinds = FactKinds().with_declared(cores[0].ruleset.declared | cores[1].ruleset.declared)
    faults, comparison = Faults(), Comparison()
    show: Callable[[Difference], None] = _show_json if output == "json" else _show_text
    number = 0
    with open_facts(file) as lines:
        for fact in read_facts(lines, kinds, faults):
            number += 1
            for difference in comparison.take(*(_step(core, fact, faults) for core in cores)):
                show(difference)
    for difference in comparison.rest():
        show(difference)
    _show_counts(comparison, number, output)
    return faults.say()


def _step(core: Core, fact: Fact | Retraction, faults: Faults) -> list[Decision]:
    """What one set of rules decides. A kind that only the other rules declare means nothing to this one."""
    try:
        decisions = core.step(fact)
    except BadFactError as error:
        faults.add_here(error)
        decisions = []
    if core.faults:
        faults.take(core.faults)
    return decisions


def _show_json(difference: Difference) -> None:
    print(json.dumps(difference.to_json_dict(), ensure_ascii=True, separators=(",", ":")))


def _show_text(difference: Difference) -> None:
    mark, style = _MARKS[difference.what]
    line = Text(f"{mark} {difference.what:<8}", style=style) + decision_text(difference.said)
    if difference.old is not None and difference.new is not None:
        apart = difference.new.at - difference.old.at
        if apart:
            line.append(f"  ({format_duration(abs(apart))} {'later' if apart > 0 else 'earlier'})", style=style)
        elif difference.old.alert is not None:
            line.append(f"  (was {difference.old.alert.severity}: {difference.old.alert.text})", style=style)
    out.print(line)


def _show_counts(comparison: Comparison, number: int, output: str) -> None:
    counts = {what: comparison.counts[what] for what in ("added", "removed", "moved", "changed")}
    if output == "json":
        summary = {"facts": number, "same": comparison.same, **counts, "cut_short": comparison.cut_short}
        print(json.dumps({"summary": summary}, separators=(",", ":")))
        return
    listed = ", ".join(f"{amount} {what}" for what, amount in counts.items())
    out.print(Text(f"{number} facts: {comparison.same} alerts and actions are the same, {listed}", style="bold"))
    if comparison.cut_short:
        out.print(
            Text(
                f"{comparison.cut_short} were told before {format_duration(WITHIN)} were over, there were so many: "
                "some of them may be moves",
                style="yellow",
            )
        )
