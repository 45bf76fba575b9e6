"""When a failed attempt is tried again. Pure: jitter is derived from the job, not drawn."""

from hashlib import blake2b

from engine.facts.timestamps import SECOND
from engine.rules.model import Retry

WAITS = 100
"""How often an attempt may find the engine at it already (409) before that counts as a failure: hours, at the usual backoff."""


def backoff_s(retry: Retry, attempt: int, job: str) -> float:
    """Seconds to wait after attempt `attempt` (from 1) of a job failed.

    min(first * factor ** (attempt - 1), max) * (1 + jitter * u), where u in [-1, 1] is fixed for the job and attempt: many jobs
    that failed together are spread, and the same journal gives the same schedule.
    """
    grown = retry.first * retry.factor ** min(attempt - 1, 64)  # beyond 2**64 every maximum is reached; floats would overflow
    base = min(grown, retry.max) / SECOND
    digest = blake2b(f"{job}/{attempt}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
    unit = int.from_bytes(digest) / (2**64 - 1) * 2 - 1
    return max(0.0, base * (1 + retry.jitter * unit))
