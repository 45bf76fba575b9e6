"""Growing pauses between attempts. Pure but for the random number that is handed in."""

import random
from collections.abc import Callable, Iterator

JITTER = 0.2


def pauses(
    first_s: float, longest_s: float, *, factor: float = 2.0, draw: Callable[[], float] = random.random
) -> Iterator[float]:
    """Seconds to pause before attempt n: min(first * factor**(n-1), longest) * (1 ± 0.2), without end.

    The jitter keeps the sources, which all lose the engine at the same moment, from knocking at it in step.
    """
    pause = first_s
    while True:
        yield pause * (1 + JITTER * (2 * draw() - 1))
        pause = min(pause * factor, longest_s)
