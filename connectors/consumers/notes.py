"""What a receiver is to be told, and how two notes that wait about the same thing become one. Pure."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from connectors.consumers.alert import Alert, alert_from_data

Kind = Literal["first", "escalation", "update", "end", "digest", "test"]


@dataclass(frozen=True, slots=True)
class Note:
    """One thing to tell a receiver."""

    kind: Kind
    thread: str
    """What it is about: an alert's dedup key, or an incident."""
    data: Mapping[str, Any]
    """`data` of the alert that tells most; empty for a digest."""
    severity: str = ""
    """The highest of the alerts that fire; of an ended incident, the highest it had."""
    firing: int = 0
    """Alerts of the incident that fire."""
    total: int = 1
    """Alerts of the incident so far."""
    flaps: int = 0
    """How often it seemed over and began anew."""
    opened_at: float = 0.0
    """Seconds since the epoch."""
    at: float = 0.0
    """Seconds since the epoch: when this was to be told."""
    unannounced: bool = False
    """An end whose beginning the receiver was never told."""
    lines: tuple[str, ...] = field(default=())
    """Of a digest."""

    @property
    def alert(self) -> Alert | None:
        """The alert that tells most."""
        return alert_from_data(self.data) if self.data else None

    @property
    def firing_now(self) -> bool:
        """False: what it is about is over."""
        return self.kind != "end"

    def to_json(self) -> str:
        """As `from_json` reads it."""
        fields = {name: getattr(self, name) for name in self.__slots__}
        return json.dumps(fields, ensure_ascii=False, separators=(",", ":"), default=str)

    @classmethod
    def from_json(cls, text: str) -> "Note":
        """What `to_json` wrote."""
        fields = json.loads(text)
        return cls(**{**fields, "lines": tuple(fields.get("lines", ()))})


def merge(waiting: Note, new: Note) -> Note | None:
    """One note in place of both, when `waiting` was not sent yet; None: both are to be sent.

    Every note holds the whole state, so the newer one says all; what it must not lose is that the beginning was not told.
    """
    if waiting.kind in {"digest", "test"} or new.kind in {"digest", "test"}:
        return None
    if waiting.kind == "end":
        # Whoever was told of the beginning is told of the end, too, before it begins anew.
        return None if not waiting.unannounced else new
    if waiting.kind == "first":
        return replace(new, unannounced=True) if new.kind == "end" else replace(new, kind="first")
    if waiting.kind == "escalation" and new.kind == "update":
        return replace(new, kind="escalation")
    return new
