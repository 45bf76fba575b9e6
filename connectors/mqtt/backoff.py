"""Pauses between attempts to connect. Pure: the randomness is handed in."""

from collections.abc import Callable, Iterator


def backoff(first: float, ceiling: float, random: Callable[[], float]) -> Iterator[float]:
    """Seconds to wait: pause n (from 0) is min(first * 2**n, ceiling), of which a random half is left out.

    So a thousand hosts whose broker comes back do not all knock in the same moment, and none knocks at once.

    Args:
        first: seconds.
        ceiling: seconds.
        random: gives numbers in [0, 1), as `random.random` does.
    """
    pause = min(first, ceiling)
    while True:
        yield pause * (0.5 + random() / 2)
        pause = min(pause * 2, ceiling)
