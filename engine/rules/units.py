"""Durations and rates as rules write them. Knows nothing of rules or files.

A duration is one or more numbers with units, largest first or not: `10m`, `1h30m`, `500ms`, `1.5h`, `2d`.
A rate is a number per duration; the number of the duration may be left out: `5/s`, `100/h`, `2/10s`.
"""

import re
from fractions import Fraction

from engine.facts.timestamps import SECOND, Micros
from engine.rules.model import Rate

MAX_DURATION: Micros = 365 * 86_400 * SECOND
"""A year: the longest time to live that a fact may have, so nothing a rule waits for can be longer."""

MAX_RATE = 1_000_000
"""More a period than any Docker does; a larger figure is a slip of the finger."""

DURATION_SHAPE = "a number with a unit (ms, s, m, h, d), such as 30s, 10m, 1h30m"
RATE_SHAPE = "a number per time, such as 5/s, 100/h, 2/10s"

_UNITS: dict[str, Micros] = {"ms": 1_000, "s": SECOND, "m": 60 * SECOND, "h": 3_600 * SECOND, "d": 86_400 * SECOND}
# At most twelve digits a number: int() of a text of thousands of digits is refused by CPython with an error of its own.
_PART = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,6})?)(ms|s|m|h|d)")
_COUNT = re.compile(r"[0-9]{1,12}(?:\.[0-9]{1,6})?")


def parse_duration(text: str) -> Micros:
    """A duration in microseconds.

    Raises:
        ValueError: it is none, or longer than a year; the message says which.
    """
    total = Fraction(0)
    end = 0
    for part in _PART.finditer(text):
        if part.start() != end:
            break
        total += Fraction(part[1]) * _UNITS[part[2]]
        end = part.end()
    if not text or end != len(text):
        raise ValueError("not a duration")
    if total > MAX_DURATION:
        raise ValueError("longer than 365d")
    return int(total)


def parse_rate(text: str) -> Rate:
    """A rate.

    Raises:
        ValueError: it is none, is zero, or is out of bounds; the message says which.
    """
    count, slash, per = text.partition("/")
    if not slash or not _COUNT.fullmatch(count):
        raise ValueError("not a rate")
    micros = _UNITS.get(per) or parse_duration(per)
    amount = float(count)
    if not amount or not micros:
        raise ValueError("a rate of nothing")
    if amount > MAX_RATE:
        raise ValueError(f"more than {MAX_RATE}")
    return Rate(amount, micros)
