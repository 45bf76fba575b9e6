"""The wall clock. The only place where the runtime reads it for what goes into facts, jobs and the journal."""

import time

from engine.facts.timestamps import Micros


def wall_clock() -> Micros:
    """Microseconds since the epoch."""
    return time.time_ns() // 1000
