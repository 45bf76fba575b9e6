"""What happened in an incident, as a picture on a time axis: facts, rules, actions, outcomes. Pure: entries in, SVG out.

One SVG element without scripts, styles or links; colours come from classes that the page defines; all texts are escaped.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from html import escape
from typing import Any, Final, Literal

from engine.facts.timestamps import SECOND, Micros, format_duration, rfc3339, to_micros
from engine.messages.models import AlertData
from engine.messages.topics import one_line

Lane = Literal["fact", "rule", "action", "outcome"]

LANES: Final[tuple[Lane, ...]] = ("fact", "rule", "action", "outcome")
"""From top to bottom, the way of a fact."""

_LANE_NAMES: Final[dict[Lane, str]] = {"fact": "Facts", "rule": "Rules", "action": "Actions", "outcome": "Outcomes"}

Tone = Literal["plain", "bad", "good", "held"]
"""`held`: decided and not done (refused, observed, silenced)."""

MAX_ENTRIES: Final = 400
"""Entries of one picture; more is no picture. The first and the last of them are kept."""

_WIDTH: Final = 960
_LEFT: Final = 84
_RIGHT: Final = 24
_TOP: Final = 34
_LANE_HEIGHT: Final = 46
_RADIUS: Final = 6
_LABEL_SPACE: Final = 12
"""Pixels that a number needs beside its neighbour; closer entries of a lane are drawn one above the other."""
_STACK: Final = 3
_TICKS: Final = 5
_FACT_FIELDS: Final = 5
_ENVELOPE: Final = frozenset({"fact", "fact_id", "at", "host", "source", "ttl", "labels", "text"})
_GOOD: Final = frozenset({"done"})
_BAD: Final = frozenset({"failed"})
_DECIDED: Final = frozenset({"scheduled", "merged"})


@dataclass(frozen=True, slots=True, order=True)
class Entry:
    """One thing that happened."""

    at: Micros
    lane: Lane
    text: str
    tone: Tone = "plain"


def entries_of_alert(data: AlertData) -> list[Entry]:
    """Everything with a time that an alert's message has, in order of time."""
    title = data.annotations.get("title", data.rule)
    entries = [Entry(to_micros(data.starts_at), "rule", one_line(f"{data.rule}: {title}", 200), "bad")]
    for fact in data.evidence:
        at = _moment(fact.get("at"))
        if at is not None:
            entries.append(Entry(at, "fact", fact_line(fact)))
    entries += [
        action_entry(to_micros(action.at), action.action, action.target, action.verdict, action.reason)
        for action in data.actions
        if action.at is not None
    ]
    if data.ends_at is not None:
        entries.append(Entry(to_micros(data.ends_at), "rule", one_line(f"{data.rule}: resolved", 200), "good"))
    return in_order(entries)


def action_entry(at: Micros, action: str, target: str, verdict: str, reason: str = "") -> Entry:
    """What was decided about an action, or what came of it."""
    text = one_line(f"{action} {short_target(target)}: {verdict}{f' ({reason})' if reason else ''}", 200)
    if verdict in _GOOD:
        return Entry(at, "outcome", text, "good")
    if verdict in _BAD:
        return Entry(at, "outcome", text, "bad")
    return Entry(at, "action", text, "plain" if verdict in _DECIDED else "held")


def fact_line(fact: Mapping[str, Any]) -> str:
    """A fact in one line: its kind and what tells it apart."""
    fields = [(name, value) for name, value in fact.items() if name not in _ENVELOPE and value not in (None, "", [], {}, False)]
    shown = ", ".join(f"{name} {short_target(str(value))[:80]}" for name, value in fields[:_FACT_FIELDS])
    return one_line(f"{fact.get('fact', 'fact')}: {shown}", 200)


def short_target(target: str) -> str:
    """The same with full container ids cut to the twelve digits that people use."""
    return ":".join(part[:12] if len(part) == 64 else part for part in target.split(":"))  # noqa: PLR2004  a full id


def in_order(entries: Iterable[Entry]) -> list[Entry]:
    """By time, each once; of too many, the first and the last."""
    ordered = sorted(set(entries))
    if len(ordered) <= MAX_ENTRIES:
        return ordered
    half = MAX_ENTRIES // 2
    return [*ordered[:half], *ordered[-half:]]


def picture(entries: list[Entry]) -> str:
    """An SVG element (`<svg class="timeline">`) of entries in order; each dot has its number in the list beside it.

    Classes: `lane`, `lane-name`, `tick`, `dot`, and the tone of each dot.
    """
    if not entries:
        return ""
    first, last = entries[0].at, entries[-1].at
    span = max(last - first, SECOND)
    height = _TOP + _LANE_HEIGHT * len(LANES) + 8
    label = f"{len(entries)} events in {format_duration(last - first)}"
    parts = [f'<svg class="timeline" viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{escape(label)}">']
    for number in range(_TICKS):
        x = _x(first + span * number // (_TICKS - 1), first, span)
        anchor = "start" if number == 0 else "end" if number == _TICKS - 1 else "middle"
        label = rfc3339(first)[11:19] if number == 0 else f"+{format_duration(_rounded(span * number // (_TICKS - 1)))}"
        parts.append(f'<line class="tick" x1="{x}" y1="{_TOP - 8}" x2="{x}" y2="{height - 8}"/>')
        parts.append(f'<text class="tick" x="{x}" y="{_TOP - 14}" text-anchor="{anchor}">{escape(label)}</text>')
    for row, lane in enumerate(LANES):
        y = _TOP + _LANE_HEIGHT * row + _LANE_HEIGHT // 2
        parts.append(f'<line class="lane" x1="{_LEFT}" y1="{y}" x2="{_WIDTH - _RIGHT}" y2="{y}"/>')
        parts.append(f'<text class="lane-name" x="4" y="{y + 4}">{_LANE_NAMES[lane]}</text>')
    taken: dict[Lane, tuple[float, int]] = {}
    for number, entry in enumerate(entries, 1):
        x = _x(entry.at, first, span)
        before, level = taken.get(entry.lane, (-1e9, 0))
        level = (level + 1) % _STACK if x - before < _LABEL_SPACE else 0
        taken[entry.lane] = (x, level)
        y = _TOP + _LANE_HEIGHT * LANES.index(entry.lane) + _LANE_HEIGHT // 2 - level * (_RADIUS * 2 + 1)
        parts.append(
            f'<circle class="dot {entry.tone}" cx="{x}" cy="{y}" r="{_RADIUS}"><title>{number}. {rfc3339(entry.at)[11:23]} '
            f"{escape(entry.text)}</title></circle>"
        )
    parts.append("</svg>")
    return "".join(parts)


def _x(at: Micros, first: Micros, span: Micros) -> float:
    return round(_LEFT + (_WIDTH - _LEFT - _RIGHT) * (at - first) / span, 1)


def _rounded(length: Micros) -> Micros:
    """To a precision that an axis can show."""
    for unit in (60 * SECOND, SECOND, SECOND // 10):
        if length >= 100 * unit:
            return length // unit * unit
    return length // (SECOND // 1000) * (SECOND // 1000)


def _moment(at: Any) -> Micros | None:
    try:
        return to_micros(datetime.fromisoformat(str(at)))
    except (ValueError, TypeError):
        return None
