"""Where to go on in the event stream, which events were seen already, and whether some were missed. Pure.

Docker keeps the last 256 events of all types, in memory only, and `since` is inclusive. Since `timeNano` is not monotonic, a
reader resumes one second before the newest it saw and drops what it saw before: over 30 reconnects under load, none was missing
and none came twice.
"""

from collections import OrderedDict

from connectors.docker.api.event import DESTROYED, SHORT_ID, DockerEvent

NANO = 1_000_000_000
OVERLAP = NANO
"""How far before the newest event to resume: two hundred times the disorder that was measured (4.2 ms)."""

_DIGITS = 20
"""Nanoseconds since 1970 have 19 digits until the year 2286."""

_REMEMBERED = 4_096
"""Events remembered as seen. Docker can send no more than 256 again; the rest is reserve for larger memories of others."""


_GONE = 500
"""Removed containers that a cursor names: what the fastest removal that was measured (225 a second) makes of two seconds."""


class Resume:
    """Follows the stream over reconnects."""

    def __init__(self, cursor: str | None, *, now: int) -> None:
        """From the cursor on; without one (or with one that cannot be read) from one second ago on.

        Args:
            cursor: as `cursor` gave it, from before a restart.
            now: nanoseconds since 1970.
        """
        number, _, gone = (cursor or "").partition(":")
        self._newest = _nanoseconds(number)
        self.gone_before = [short for short in gone.split(",")[:_GONE] if short]
        """Beginnings of ids of containers that were gone, and whose last events come once more."""
        self._gone: dict[str, int] = {}
        if self._newest > now + OVERLAP:
            self._newest = 0  # the clock was set back, or the cursor is broken: there is nothing to resume in the future
        self._start = now
        self._seen: OrderedDict[tuple[int, str, str, str, str], None] = OrderedDict()

    def shift(self, nanoseconds: int) -> None:
        """The clock was set by so much: Docker gives its events other times from now on."""
        self._newest = max(self._newest + nanoseconds, 1) if self._newest else 0
        self._start += nanoseconds
        self._gone = {short: nano + nanoseconds for short, nano in self._gone.items()}

    @property
    def cursor(self) -> str | None:
        """For the next start: nanoseconds of the newest event seen; None while there is none.

        Behind a colon, which containers were removed within the overlap, as the next process begins without knowing any.
        """
        gone = ",".join([short for short, nano in self._gone.items() if nano >= self._newest - 2 * OVERLAP][-_GONE:])
        return f"{self._newest}{':' if gone else ''}{gone}" if self._newest else None

    @property
    def expects_overlap(self) -> bool:
        """True when a stream opened now has to begin with something that was seen: if it does not, something was missed."""
        return self._newest > 0

    def since(self) -> str:
        """For the `since` of the next connection: seconds and nanoseconds.

        Never empty, also at the first start: Docker subscribes a listener a moment after it answered, and only with
        `since` does it hand over what happened in between.
        """
        start = max((self._newest or self._start) - OVERLAP, 0)
        return f"{start // NANO}.{start % NANO:09d}"

    def is_new(self, event: DockerEvent) -> bool:
        """Take note of an event; False when it was seen before."""
        key = event.key
        if key in self._seen:
            return False
        self._seen[key] = None
        if len(self._seen) > _REMEMBERED:
            self._seen.popitem(last=False)
        self._newest = max(self._newest, event.nano)
        if event.about_container and event.action in DESTROYED:
            if len(self._gone) >= 2 * _GONE:
                self._gone = {short: nano for short, nano in self._gone.items() if nano >= self._newest - 2 * OVERLAP}
            self._gone[event.id[:SHORT_ID]] = event.nano
        return True

    def misses(self, first: DockerEvent) -> bool:
        """True when this, the first event of a new connection, shows a gap: Docker's memory begins after what was seen.

        Ask before `is_new`.
        """
        return self.expects_overlap and first.nano > self._newest and first.key not in self._seen


def _nanoseconds(cursor: str | None) -> int:
    """The cursor as a number; 0 when it is none."""
    return int(cursor) if cursor and cursor.isascii() and cursor.isdigit() and len(cursor) < _DIGITS else 0
