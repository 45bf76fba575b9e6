"""Values of a match as texts and parameters.

A hostile name is ordinary input: no control character gets through, nothing is endless.
"""

import math
from datetime import datetime
from typing import Any

from engine.facts.timestamps import SECOND, format_duration, rfc3339, to_micros
from engine.inference.match import Match
from engine.rules.model import DURATION, Placeholder, Ref, Template, Value

VALUE_LENGTH = 512
"""Characters of one value in a text: a command line is recognisable by then."""

_WHOLE_FROM = 10_000
"""Numbers from here on are shown without a fraction; smaller ones with four digits that count."""


def printable(text: str, most: int = VALUE_LENGTH) -> str:
    """Without control characters, line breaks or lone surrogates, and not longer than so many characters."""
    if len(text) > most:
        text = text[: most - 1] + "…"
    return text if text.isprintable() else "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)


_STEPS_S = ((7 * 86_400, 86_400), (86_400, 3_600), (3_600, 600), (600, 60), (60, 10), (0, 1))
"""From so many seconds on, a length of time is shown in steps of so many: a forecast is no more exact than that."""


def duration_of(seconds: float) -> str:
    """Seconds as people write them, cut to a step: `3h40m`, `12m`, `2d5h`."""
    whole = int(max(0.0, min(seconds, 365 * 86_400)))
    step = next(step for least, step in _STEPS_S if whole >= least)
    return format_duration(whole // step * step * SECOND)


def text_of(value: Any, spec: str = "") -> str:
    """A value as it stands in a text."""
    if value is None:
        return "unknown"
    if spec == DURATION and isinstance(value, int | float) and math.isfinite(value):
        return duration_of(value)
    if spec:
        try:
            return printable(format(value, spec))
        except (ValueError, TypeError):
            pass  # the check says so when the rule is loaded; a text is better than none here
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < _WHOLE_FROM else f"{value:.0f}"
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M:%S UTC")
    if isinstance(value, list | tuple):
        return printable(", ".join(text_of(part) for part in value))
    return printable(str(value))


def render(template: Template, match: Match) -> str:
    """A template with its placeholders filled in."""
    return "".join(
        text_of(match.value_of(part.ref), part.format) if isinstance(part, Placeholder) else part for part in template.parts
    )


def value_in(value: Value, match: Match) -> Any:
    """A parameter or field: a literal, what a reference refers to, or a rendered text; as JSON has it."""
    if isinstance(value, Ref):
        found = match.value_of(value)
        return rfc3339(to_micros(found)) if isinstance(found, datetime) else found
    if isinstance(value, Template):
        return render(value, match)
    return list(value) if isinstance(value, tuple) else value
