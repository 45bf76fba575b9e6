"""Regular expressions of rules."""

import time
from datetime import UTC, datetime

import pytest

from engine.rules.operators import BadRegexError, compile_regex, holds
from engine.rules.value_sets import passes


def test_search_is_not_anchored() -> None:
    """An expression may match anywhere, and says so with a truth value."""
    matches = compile_regex(r"runc:\[\d+:INIT\]")
    assert matches("Kill process 20357 (runc:[2:INIT]) score 970") is True
    assert matches("runc") is False


@pytest.mark.parametrize("expression", ["(", "a**", r"(a)\1", "(?=a)", "[z-a]", "x{2000}", "\ud800", "a" * 1_001])
def test_faulty_expressions_are_refused(expression: str, capfd: pytest.CaptureFixture[str]) -> None:
    """What RE2 does not take raises one error of ours, and nothing is written to the terminal."""
    with pytest.raises(BadRegexError, match=r"."):
        compile_regex(expression)
    assert capfd.readouterr().err.count("Error parsing") == 0


def test_hostile_text() -> None:
    """Lone surrogates, NUL and control characters in a fact are searched like any text."""
    assert compile_regex("busy$")("\x00\ud800\x1b[31m busy")


def test_time_is_linear() -> None:
    """An expression that takes a backtracking matcher for ever is done at once on a long text."""
    started = time.monotonic()
    assert not compile_regex("(a*)*b")("a" * 200_000)
    assert time.monotonic() - started < 5  # a backtracking matcher needs longer than the universe has


def test_the_check_and_the_core_share_one_meaning() -> None:
    """A flag is no number for either: `exit_code: true` does not pass 1, and what the core lets pass the check lets pass."""
    for op, value, other in [
        ("eq", True, 1),
        ("ne", True, 1),
        ("re", "dead", "^d"),
        ("re", "dead", "x"),
        ("gt", 2, 1),
        ("lt", 2, 1),
    ]:
        assert passes(op, value, (other,)) is holds(op, value, (other,))  # type: ignore[arg-type]  # operators by name
    assert passes("gt", True, (0,))  # a wrong type is said by another check
    assert passes("re", "dead", ("(",))  # as is a wrong expression


def test_a_time_that_a_declared_fact_has_as_text_is_compared_as_a_time() -> None:
    """A rule asserts when a storm began, another compares it with when a container was created; what is no time is not later."""
    created = datetime(2026, 1, 1, 0, 0, 5, tzinfo=UTC)
    assert holds("gte", created, ("2026-01-01T00:00:05.000000Z",))
    assert not holds("gt", created, ("2026-01-01T00:00:05.000000Z",))
    assert holds("lt", "2026-01-01T00:00:04Z", (created,))
    for other in ("soon", "2026-01-01", 7, None, True):
        assert not holds("gte", created, (other,))
