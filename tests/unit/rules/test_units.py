"""Durations and rates."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.facts.timestamps import SECOND, format_duration
from engine.rules.model import Rate
from engine.rules.units import MAX_DURATION, parse_duration, parse_rate


@pytest.mark.parametrize(
    ("text", "micros"),
    [
        ("0s", 0),
        ("500ms", 500_000),
        ("5s", 5 * SECOND),
        ("10m", 600 * SECOND),
        ("1h30m", 5_400 * SECOND),
        ("1.5h", 5_400 * SECOND),
        ("0.1s", 100_000),
        ("2d", 172_800 * SECOND),
        ("365d", MAX_DURATION),
    ],
)
def test_durations(text: str, micros: int) -> None:
    """Every unit, alone and together, is exact to the microsecond."""
    assert parse_duration(text) == micros


@pytest.mark.parametrize(
    "text", ["", "10", "m", "10 m", "-5s", "+5s", "5S", "1h 30m", "5s,", "1e3s", ".5s", "٣s", "366d", "9" * 5_000 + "s"]
)
def test_not_durations(text: str) -> None:
    """A number without a unit, blanks, signs, other scripts' digits and more than a year are refused."""
    with pytest.raises(ValueError, match=r"not a duration|longer than 365d"):
        parse_duration(text)


@given(st.integers(min_value=0, max_value=MAX_DURATION // 1_000))
def test_written_durations_are_read_back(millis: int) -> None:
    """What alerts show of a duration is a duration again, and the same one."""
    assert parse_duration(format_duration(millis * 1_000)) == millis * 1_000


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("5/s", Rate(5, SECOND)),
        ("100/h", Rate(100, 3_600 * SECOND)),
        ("2/10s", Rate(2, 10 * SECOND)),
        ("0.5/m", Rate(0.5, 60 * SECOND)),
        ("1/1h30m", Rate(1, 5_400 * SECOND)),
    ],
)
def test_rates(text: str, rate: Rate) -> None:
    """A number per unit or per duration."""
    assert parse_rate(text) == rate


@pytest.mark.parametrize("text", ["", "5", "5/", "/s", "5/0s", "0/s", "-1/s", "5 / s", "5/s/s", "1000001/s", "5/week"])
def test_not_rates(text: str) -> None:
    """Nothing per something, something per nothing, and what is no rate at all are refused."""
    with pytest.raises(ValueError, match=r"."):
        parse_rate(text)


@given(st.text(max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    """Whatever the text, it is a duration or rate within bounds, or a ValueError."""
    for parse in (parse_duration, parse_rate):
        try:
            found = parse(text)
        except ValueError:
            continue
        assert found == found  # noqa: PLR0124 -- it is a number, not a not-a-number
