"""`dockwarden demo`: a recording of real faults through the shipped rules, played in some ten seconds. Touches nothing."""

import re
import time
from collections import Counter
from collections.abc import Iterator

from rich.text import Text

from engine.cli.targets import load_rules
from engine.cli.terminal import console, open_facts, short_ids
from engine.facts import Fact, Retraction
from engine.facts.docker import Container, ContainerEvent, MountLeak
from engine.facts.logs import DaemonLog
from engine.facts.timestamps import SECOND, Micros
from engine.inference.core import Core
from engine.inference.decision import Decision
from engine.replay.player import step
from engine.replay.recording import Faults, read_facts
from engine.rules.shipped import shipped_recording, shipped_rules

_INTRO = (
    "A recording of real faults on Docker 20.10, and what the shipped rules decide on it. Nothing here is touched.\n"
    "First a monitoring container holds a mount, so another one cannot be deleted; then a loop creates 25 containers.\n"
)
_OUTRO = (
    "\nThat is all. Next:  dockwarden run            on this host, mode observe: it looks and reports, and changes nothing\n"
    "                    dockwarden check RULES     every error of a folder of rules at once\n"
    "                    dockwarden replay FILE     any recording, by any rules"
)
_STYLES = {"critical": "bold red", "error": "red", "warning": "yellow", "info": "cyan"}
_REPEATS = 3
"""Lines alike that are shown; the others are counted."""
_WIDTH = 170


def show_demo(seconds: float) -> int:
    """Print the story, stretched or shortened to so many seconds; 0: at once."""
    core, faults, out = Core(load_rules(shipped_rules()), keep_changes=False), Faults(), console()
    out.print(Text(_INTRO))
    with open_facts(str(shipped_recording())) as lines:
        story = [(fact.at_micros, line) for fact in read_facts(lines, core.kinds, faults) for line in _lines(core, fact, faults)]
    if not story:
        return 0
    first = story[0][0]
    factor = seconds / max(1, story[-1][0] - first)
    started = time.monotonic()
    for at, line in _shortened(story):
        time.sleep(max(0.0, started + (at - first) * factor - time.monotonic()))
        line.truncate(_WIDTH, overflow="ellipsis")
        out.print(Text(f"{(at - first) / SECOND:6.2f}s  ", style="dim") + line)
    out.print(Text(_OUTRO))
    return 0


def _lines(core: Core, fact: Fact | Retraction, faults: Faults) -> Iterator[Text]:
    seen = _seen(fact)
    if seen:
        yield Text(f"Docker   {short_ids(seen)}", style="dim")
    for decision in step(core, fact, faults):
        yield from _decided(decision)


def _seen(fact: Fact | Retraction) -> str:
    if isinstance(fact, ContainerEvent) and fact.action in ("create", "destroy"):
        return f"{fact.action} {fact.name or fact.id} of {fact.image}"
    if isinstance(fact, Container) and fact.status == "dead":
        return f"container {fact.name or fact.id} is dead"
    if isinstance(fact, DaemonLog):
        message = re.search(r'msg="(.*)"', fact.text or "")
        return f"logs: {message[1] if message else fact.text}"
    if isinstance(fact, MountLeak):
        return f"{fact.holder_name or fact.holder_id} holds {fact.path}"
    return ""


def _decided(decision: Decision) -> Iterator[Text]:
    if decision.does == "alert" and decision.alert is not None:
        style = _STYLES.get(decision.alert.severity, "") if decision.status == "firing" else "green"
        what = decision.alert.severity if decision.status == "firing" else "resolved"
        yield Text(f"alert    {what}: {decision.rule}: {short_ids(decision.alert.text)}", style=style)
    elif decision.does == "action":
        target = " ".join(short_ids(str(value)) for value in decision.params.values())
        yield Text(f"action   {decision.action} {target} (by {decision.rule})", style="cyan")


def _shortened(story: list[tuple[Micros, Text]]) -> Iterator[tuple[Micros, Text]]:
    """Of lines alike the first ones, and how many more there were before something else happened."""
    shown: Counter[str] = Counter()
    left_out = 0
    for at, line in story:
        alike = " ".join(line.plain.split()[:2])
        shown[alike] += 1
        if shown[alike] > _REPEATS and not line.plain.startswith("alert"):
            left_out += 1
            continue
        if left_out:
            yield at, Text(f"         … {left_out} more events like these", style="dim")
            left_out = 0
        yield at, line
    if left_out:
        yield story[-1][0], Text(f"         … {left_out} more events and actions like these", style="dim")
