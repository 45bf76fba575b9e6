"""Values of a match as texts: readable, bounded, and harmless."""

from datetime import UTC, datetime
from typing import Any

import pytest

from engine.inference.templates import VALUE_LENGTH, duration_of, printable, text_of
from engine.rules.model import DURATION
from tests.unit.inference.timeline import Timeline


@pytest.mark.parametrize(
    ("value", "spec", "expected"),
    [
        (None, "", "unknown"),
        (True, "", "true"),
        (0.9312, ".0%", "93%"),
        (0.123456, "", "0.1235"),
        (123456.7, "", "123457"),
        (1.5e300, "", f"{1.5e300:.0f}"),
        (float("nan"), "", "nan"),
        (float("inf"), DURATION, "inf"),
        (13_400.0, DURATION, "3h40m"),
        (-5, DURATION, "0s"),
        (["a", None, 1], "", "a, unknown, 1"),
        (datetime(2027, 1, 2, 3, 4, 5, 6, UTC), "", "2027-01-02 03:04:05 UTC"),
        ("text", ".0%", "text"),  # the check says so; a text is better than none here
    ],
)
def test_how_values_are_shown(value: Any, spec: str, expected: str) -> None:
    """As people write them."""
    assert text_of(value, spec) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"), [(0.4, "0s"), (59, "59s"), (61, "1m"), (3599, "59m"), (86_399, "23h50m"), (1e12, "365d")]
)
def test_a_forecast_is_told_no_more_exactly_than_it_is(seconds: float, expected: str) -> None:
    """In steps that grow with the length; never more than a year."""
    assert duration_of(seconds) == expected


@pytest.mark.parametrize("text", ["\x1b[2J", "a\nb", "\ud800", "\u202eevil", "x" * 1_000_000, "\x00"])
def test_a_hostile_name_is_made_harmless(text: str) -> None:
    """No control character, no line break, no text direction, no lone surrogate, no megabyte."""
    shown = printable(text)
    assert shown.isprintable()
    assert 0 < len(shown) <= VALUE_LENGTH
    shown.encode()


def test_parameters_of_actions_are_the_values_themselves() -> None:
    """An id is handed on as it is; a text with placeholders is rendered."""
    line = Timeline("""
  - rule: clean
    title: Clean
    severity: info
    when:
      dead: {fact: container, status: dead}
    then:
      - do: remove_container
        container: $dead.id
""")
    assert line.box(0, "x" * 64, status="dead") == ["0s do remove_container " + "x" * 64]


def test_a_hostile_name_in_key_and_text_stays_one_line() -> None:
    """What a container is called reaches pagers and topics."""
    line = Timeline("""
  - rule: dead
    title: Dead
    severity: info
    when:
      dead: {fact: container, status: dead}
    key: "{dead.name}"
    then:
      - alert: "{dead.name} is dead"
""")
    (said,) = line.box(0, name="a\nb\x1b[0m" + "z" * 10_000, status="dead")
    assert said.isprintable()
    assert len(said) < 3 * VALUE_LENGTH
