"""The backoff: its growth, its bound, its jitter."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.facts.timestamps import SECOND
from engine.pipeline.jobs import backoff_s
from engine.rules.model import Retry

PLAIN = Retry(first=5 * SECOND, factor=2.0, max=1800 * SECOND, jitter=0.0, attempts=12)


def test_it_doubles_up_to_its_maximum() -> None:
    """5 s, 10 s, 20 s and so on, and never more than half an hour."""
    pauses = [backoff_s(PLAIN, attempt, "job") for attempt in range(1, 13)]
    assert pauses[:4] == [5.0, 10.0, 20.0, 40.0]
    assert pauses[9:] == [1800.0, 1800.0, 1800.0]


@given(
    first=st.integers(1, 86_400 * SECOND),
    factor=st.floats(1, 100),
    most=st.integers(1, 30 * 86_400 * SECOND),
    jitter=st.floats(0, 1),
    attempt=st.integers(1, 10_000),
)
def test_it_stays_within_its_bounds_for_whatever_a_rule_may_say(
    first: int, factor: float, most: int, jitter: float, attempt: int
) -> None:
    """Never negative, never above the maximum with its jitter, and no overflow."""
    retry = Retry(first=first, factor=factor, max=most, jitter=jitter)
    assert 0 <= backoff_s(retry, attempt, "job") <= most / SECOND * (1 + jitter) * (1 + 1e-9)


def test_the_jitter_spreads_jobs_that_failed_together() -> None:
    """Thirty deletions that failed in one second come back spread over the jitter's width, both ways."""
    retry = Retry(first=100 * SECOND, jitter=0.2)
    pauses = sorted(backoff_s(retry, 1, f"job-{number}") for number in range(200))
    assert pauses[0] < 83
    assert pauses[-1] > 117
    assert sum(pauses) / len(pauses) == pytest.approx(100, abs=5)


def test_the_same_journal_gives_the_same_schedule() -> None:
    """Nothing is drawn: job and attempt decide."""
    retry = Retry(jitter=0.5)
    assert backoff_s(retry, 3, "job") == backoff_s(retry, 3, "job") != backoff_s(retry, 4, "job") / 2
