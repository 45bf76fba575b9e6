"""How a source is doing, as `source` facts: what was lost, since when, and why. One builder for every source.

Knows nothing of files, devices or Docker. Sans-I/O: time is handed in; nothing is read from a clock here.
"""

from datetime import datetime, timedelta

import structlog

from connectors.sources.text import clean
from engine.facts.host import Source, SourceState

_log = structlog.get_logger(__name__)

GAP_SHOWN = timedelta(seconds=60)
"""How long a gap stays the status although reading goes on: a gap is a moment, and one that is gone at once is seen by nobody
who asks for the status, and raises an alert only to resolve it in the same breath."""

DAMAGE_PACE = timedelta(seconds=1)
"""At most one fact in so long for entries that could not be read whole. A flood of broken lines is one fact with a count:
emitted one by one, the facts would be a second flood."""

_ERROR_CHARS = 1024
"""The text of an error is cut to so many characters: it may quote what a stranger wrote."""


class SourceStatus:
    """The state behind one `source` fact. `due` gives the fact when there is something new to report."""

    def __init__(self, name: str, *, emitted_by: str = "", immediate: bool = False) -> None:
        """Nothing is known yet.

        Args:
            name: of the source.
            emitted_by: the fact's `source` field; empty: the name.
            immediate: emit each change at once, and end a gap when the source says so: for sources that change seldom.
        """
        self.name = name
        self.lost = 0
        """Entries lost or unreadable since the start."""
        self._emitted_by = emitted_by or name
        self._pace, self._gap_shown = (timedelta(0), timedelta(0)) if immediate else (DAMAGE_PACE, GAP_SHOWN)
        self._status: SourceState | None = None
        self._since: datetime | None = None
        self._error: str | None = None
        self._last_emitted: tuple[SourceState, str | None, int] | None = None
        self._emitted_at: datetime | None = None

    @property
    def status(self) -> SourceState | None:
        """None until anything is known."""
        return self._status

    @property
    def error(self) -> str | None:
        """Why it is not well, or what was damaged; None when there is nothing to complain of."""
        return self._error

    def ok(self, at: datetime, error: str | None = None) -> None:
        """It can be read. Ends `lost` at once, `gap` after it was shown for `GAP_SHOWN`."""
        if self._status == "ok" and error is None and self._pace:
            return  # what was damaged stays named
        if self._status == "gap" and self._since is not None and at - self._since < self._gap_shown:
            return
        self._turn("ok", at, error)

    def lose(self, at: datetime, error: str) -> None:
        """Nothing can be read; `error` says why and what to do. Repeating the same changes nothing."""
        self._turn("lost", at, error)

    def gap(self, at: datetime, error: str, lost: int = 1) -> None:
        """`lost` entries were missed; 1 stands for a number that nobody knows."""
        self.lost += lost
        self._since = None  # a new gap is shown from now on
        self._turn("gap", at, error)

    def damage(self, at: datetime, error: str, count: int = 1) -> None:
        """`count` entries could not be read whole. They are counted; the status stays what it is."""
        self.lost += count
        if self._status in (None, "ok"):
            self._turn("ok", at, error)

    def due(self, at: datetime) -> Source | None:
        """The fact to emit now; None when nothing changed since the last one."""
        if self._status is None:
            return None
        state = (self._status, self._error, self.lost)
        if state == self._last_emitted:
            return None
        same_status = self._last_emitted is not None and self._last_emitted[0] == self._status
        if same_status and self._emitted_at is not None and at - self._emitted_at < self._pace:
            return None
        self._last_emitted, self._emitted_at = state, at
        level = _log.info if self._status == "ok" and self._error is None else _log.warning
        level(f"source_{self._status}", source=self.name, lost=self.lost, error=self._error)
        return Source.report(
            self.name, self._status, at=at, emitted_by=self._emitted_by, lost=self.lost, since=self._since, error=self._error
        )

    def report(self, status: SourceState, at: datetime, error: str | None = None) -> list[Source]:
        """It has this status from now on; the fact to emit, none when that is nothing new."""
        match status:
            case "ok":
                self.ok(at, error)
            case "lost":
                self.lose(at, error or "")
            case "gap":
                self.gap(at, error or "", 0)
        fact = self.due(at)
        return [] if fact is None else [fact]

    def _turn(self, status: SourceState, at: datetime, error: str | None) -> None:
        if status != self._status or self._since is None:
            self._status, self._since = status, at
        self._error = clean(error, _ERROR_CHARS) or None
