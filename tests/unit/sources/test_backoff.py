"""Pauses between attempts."""

from itertools import islice

from connectors.sources.backoff import backoff


def test_pauses_double_up_to_the_longest() -> None:
    """1, 2, 4 … 60, 60 at most, and half of each at least."""
    assert list(islice(backoff(1, 60, draw=lambda: 1.0), 8)) == [1, 2, 4, 8, 16, 32, 60, 60]
    assert list(islice(backoff(1, 60, draw=lambda: 0.0), 8)) == [0.5, 1, 2, 4, 8, 16, 30, 30]


def test_the_first_is_no_longer_than_the_longest() -> None:
    """A first pause above the longest is cut to it."""
    assert next(backoff(90, 60, draw=lambda: 1.0)) == 60


def test_without_a_spread_nothing_is_random() -> None:
    """A spread of 0 leaves nothing out, whatever is drawn."""
    assert list(islice(backoff(2, 5, spread=0, draw=lambda: 0.3), 3)) == [2, 4, 5]
