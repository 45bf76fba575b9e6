"""How a log source is doing, as `source` facts: what was lost, since when, and why.

Knows nothing of files or devices. Time is handed in; nothing is read from a clock here.
"""

from datetime import datetime, timedelta
from typing import Literal

import structlog

from engine.facts.host import Source
from engine.facts.timestamps import to_micros

_log = structlog.get_logger(__name__)

Status = Literal["ok", "lost", "gap"]

GAP_SHOWN = timedelta(seconds=60)
"""How long a gap stays the status although reading goes on: a gap is a moment, and one that is gone at once is seen by nobody
who asks for the status, and raises an alert only to resolve it in the same breath."""

DAMAGE_PACE = timedelta(seconds=1)
"""At most one fact in so long for entries that could not be read whole. A flood of broken lines is one fact with a count:
told one by one, the facts would be a second flood."""

_ERROR_CHARS = 1024
"""The text of an error is cut to so many characters: it may quote what a stranger wrote."""


class Health:
    """The state behind one `source` fact. `due` gives the fact when there is something new to say."""

    def __init__(self, name: str, host: str) -> None:
        self._name = name
        self._host = host
        self._status: Status | None = None
        self._since: datetime | None = None
        self._error: str | None = None
        self._lost = 0
        self._told: tuple[Status, str | None] | None = None
        self._told_lost = 0
        self._told_at: datetime | None = None

    @property
    def status(self) -> Status | None:
        """None until anything is known."""
        return self._status

    def ok(self, at: datetime) -> None:
        """It can be read. Ends `lost` at once, `gap` after it was shown for `GAP_SHOWN`."""
        if self._status == "ok":
            return
        if self._status == "gap" and self._since is not None and at - self._since < GAP_SHOWN:
            return
        self._turn("ok", at, None)

    def lose(self, at: datetime, error: str) -> None:
        """Nothing can be read; `error` says why and what to do. Repeating the same changes nothing."""
        self._turn("lost", at, error)

    def gap(self, at: datetime, error: str, lost: int = 1) -> None:
        """`lost` entries were missed; 1 stands for a number that nobody knows."""
        self._lost += lost
        self._since = None  # a new gap is shown from now on
        self._turn("gap", at, error)

    def damage(self, at: datetime, error: str, count: int = 1) -> None:
        """`count` entries could not be read whole. They are counted; the status stays what it is."""
        self._lost += count
        if self._status in (None, "ok"):
            self._turn("ok", at, error)

    def due(self, at: datetime) -> Source | None:
        """The fact to tell now, None when nothing changed since the last one."""
        if self._status is None:
            return None
        state = (self._status, self._error)
        if state == self._told and self._lost == self._told_lost:
            return None
        same_status = self._told is not None and self._told[0] == self._status
        if same_status and self._told_at is not None and at - self._told_at < DAMAGE_PACE:
            return None
        self._told, self._told_lost, self._told_at = state, self._lost, at
        if self._status == "ok" and self._error is None:
            _log.info("source is read", source=self._name, lost=self._lost)
        else:
            _log.warning("source: trouble", source=self._name, status=self._status, lost=self._lost, error=self._error)
        return Source(
            fact_id=f"source-{self._name}-{to_micros(at)}",
            at=at,
            host=self._host,
            source=self._name,
            name=self._name,
            status=self._status,
            lost=self._lost,
            since=self._since,
            error=self._error,
        )

    def _turn(self, status: Status, at: datetime, error: str | None) -> None:
        if status != self._status or self._since is None:
            self._status, self._since = status, at
        self._error = None if error is None else error[:_ERROR_CHARS]
