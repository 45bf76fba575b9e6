"""Pauses between attempts to read a source that is lost."""

import random
from collections.abc import Iterator

FIRST_S = 1.0
"""Seconds before the second attempt: a service that restarts is back by then."""
MAX_S = 60.0
"""Seconds between attempts at most: somebody who mends a permission need not wait longer than a minute."""


def backoff(first_s: float = FIRST_S, max_s: float = MAX_S) -> Iterator[float]:
    """Seconds to wait before each next attempt: `min(max_s, first_s * 2**n)`, endless.

    Each is shortened by up to a fifth at random, so that the hosts of a fleet do not march in step.
    """
    pause = first_s
    while True:
        yield pause * random.uniform(0.8, 1.0)  # noqa: S311 -- spreads load, guards nothing
        pause = min(max_s, pause * 2)
