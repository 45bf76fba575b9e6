"""Sources that look at the host at a steady pace. Knows nothing of what they look at."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from datetime import UTC, datetime

from engine.errors import SourceError
from engine.facts import Fact, Retraction
from engine.facts.host import Source
from engine.ports.sources import Sink

Facts = list[Fact | Retraction]

_LOOK_LIMIT_S = 60.0
"""A look that takes longer is given up: it is made of small reads, and a second is already a lot."""


def utc_now() -> datetime:
    """Event time of what is seen now."""
    return datetime.now(UTC)


class PeriodicSource(ABC):
    """Looks every `interval_s` seconds, the first time at once. A failed look is a `source` fact, and the next one is tried."""

    def __init__(self, *, name: str, host: str, interval_s: float, now: Callable[[], datetime] = utc_now) -> None:
        """A source of this name.

        Raises:
            ValueError: the interval is not above 0 seconds.
        """
        if interval_s <= 0:
            raise ValueError(f"{name}: the interval must be above 0 s")
        self._name = name
        self._host = host
        self._interval_s = interval_s
        self._now = now
        self._error: str | None = None
        self._partly: str | None = None
        self._lost = 0

    @property
    def name(self) -> str:
        """Name of its task and of its `source` fact."""
        return self._name

    @abstractmethod
    async def look(self) -> Facts:
        """What is to be told now: what is new, what changed, what is gone.

        Raises:
            SourceError: nothing can be told for now.
        """

    async def run(self, sink: Sink, cursor: str | None) -> None:  # noqa: ARG002 - the port's; a look starts from what is, not from a cursor
        """Look until cancelled."""
        while True:
            await sink.put(await self._look_and_report())
            await asyncio.sleep(self._interval_s)

    def _in_part(self, error: str) -> None:
        """For `look`: what it returns is right, but something could not be looked at, for this reason."""
        self._partly = error

    async def _look_and_report(self) -> Facts:
        self._partly = None
        facts: Facts = []
        try:
            async with asyncio.timeout(_LOOK_LIMIT_S):
                facts = await self.look()
        except TimeoutError:
            self._partly = "a look took too long"
        except (SourceError, OSError) as error:
            self._partly = str(error)
        before, self._error = self._error, self._partly
        if self._error is not None:
            self._lost += 1
        if self._error == before:  # the same failure again is counted, not told again
            return facts
        return [self._source("ok" if self._error is None else "lost"), *facts]

    def _source(self, status: str) -> Source:
        at = self._now()
        return Source.model_validate(
            {
                "at": at,
                "host": self._host,
                "source": "probe",
                "name": self._name,
                "status": status,
                "lost": self._lost,
                "since": at,
                "error": self._error,
            }
        )
