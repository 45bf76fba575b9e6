"""How a source is doing, as facts: only when it changes. Pure."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from connectors.docker.api.text import clean
from engine.facts.host import Source
from engine.facts.timestamps import to_micros

Status = Literal["ok", "lost", "gap"]
_ERROR_CHARS = 1_000


@dataclass(slots=True)
class SourceState:
    """Follows one source."""

    name: str
    host: str = ""
    lost: int = 0
    """Entries lost or unreadable since the start."""
    _told: tuple[Status, int, str] | None = field(default=None, init=False)
    _since: datetime | None = field(default=None, init=False)

    @property
    def status(self) -> Status | None:
        """As last told; None before that."""
        return self._told[0] if self._told else None

    def tell(self, status: Status, at: datetime, error: str = "") -> list[Source]:
        """The fact, if status, losses or reason differ from what was last told."""
        error = clean(error, _ERROR_CHARS)
        now = (status, self.lost, error)
        if now == self._told:
            return []
        if self._told is None or self._told[0] != status:
            self._since = at
        self._told = now
        fact_id = f"source-{self.name}-{to_micros(at)}-{status}-{self.lost}"
        return [
            Source(
                fact_id=fact_id,
                at=at,
                host=self.host,
                source="docker",
                name=self.name,
                status=status,
                lost=self.lost,
                since=self._since,
                error=error or None,
            )
        ]
