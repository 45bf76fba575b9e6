"""Event time as the core counts it: whole microseconds since 1970-01-01 UTC. Pure arithmetic, no clock is read here."""

from datetime import UTC, datetime, timedelta

Micros = int
"""A moment, or a length of time, in microseconds."""

SECOND: Micros = 1_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def to_micros(at: datetime) -> Micros:
    """An aware datetime as microseconds since the epoch, exactly (no float in between)."""
    return (at - _EPOCH) // _MICROSECOND


def from_micros(at: Micros) -> datetime:
    """The UTC datetime of so many microseconds since the epoch."""
    return _EPOCH + timedelta(microseconds=at)


def rfc3339(at: Micros) -> str:
    """As it stands in every payload: `2026-11-20T16:51:52.525487Z` (RFC 3339, UTC, always six digits)."""
    return utc_text(from_micros(at))


def utc_text(at: datetime) -> str:
    """The same of a UTC datetime."""
    # An eighth of the time that strftime takes, and this is done for every fact that is kept or printed.
    return at.isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"


_UNITS = ((86_400 * SECOND, "d"), (3_600 * SECOND, "h"), (60 * SECOND, "m"), (SECOND, "s"), (1_000, "ms"))


def format_duration(length: Micros) -> str:
    """A length of time as rules write it: `10m`, `1h30m`, `250ms`; whole milliseconds, `0s` for less."""
    parts: list[str] = []
    rest = max(length, 0)
    for size, unit in _UNITS:
        whole, rest = divmod(rest, size)
        if whole:
            parts.append(f"{whole}{unit}")
    return "".join(parts) or "0s"
