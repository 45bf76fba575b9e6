"""Growing pauses between attempts. Sans-I/O; the random number is handed in."""

import random
from collections.abc import Callable, Iterator

FIRST_S = 1.0
"""Seconds before the second attempt: a service that restarts is back by then."""
LONGEST_S = 60.0
"""Seconds between attempts at most: somebody who repairs a permission need not wait longer than a minute."""


def backoff(
    first_s: float = FIRST_S,
    longest_s: float = LONGEST_S,
    *,
    spread: float = 0.5,
    draw: Callable[[], float] = random.random,
) -> Iterator[float]:
    """Seconds to wait before each next attempt: min(first * 2**n, longest), of which a random part is left out; without end.

    So a thousand hosts whose broker comes back, or the sources of one host that all lose Docker, do not knock in step.

    Args:
        first_s: seconds.
        longest_s: seconds.
        spread: share of the pause that is left out at most, 0 to 1; 0: none.
        draw: gives numbers in [0, 1), as `random.random` does.
    """
    pause = min(first_s, longest_s)
    while True:
        yield pause * (1 - spread + spread * draw())
        pause = min(pause * 2, longest_s)
