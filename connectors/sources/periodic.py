"""Sources that look at the host at a steady pace. Knows nothing of what they look at."""

import asyncio
from abc import ABC, abstractmethod
from datetime import datetime

from connectors.sources.status import SourceStatus
from engine.errors import SourceError
from engine.facts import Fact, Retraction
from engine.ports.clock import Clock, event_time
from engine.ports.sources import Sink

Facts = list[Fact | Retraction]

_LOOK_LIMIT_S = 60.0
"""A look that takes longer is given up: it is made of small reads, and a second is already a lot."""


class PeriodicSource(ABC):
    """Looks every `interval_s` seconds, the first time at once. A failed look is a `source` fact, and the next one is tried."""

    def __init__(self, *, name: str, interval_s: float, clock: Clock) -> None:
        """A source of this name.

        Raises:
            ValueError: the interval is not above 0 seconds.
        """
        if interval_s <= 0:
            raise ValueError(f"{name}: the interval must be above 0 s")
        self.name = name
        self._interval_s = interval_s
        self._clock = clock
        self._status = SourceStatus(name, emitted_by="probe", immediate=True)
        self._partly: str | None = None

    @abstractmethod
    async def look(self) -> Facts:
        """What is to be emitted now: what is new, what changed, what is gone.

        Raises:
            SourceError: nothing can be seen for now.
        """

    async def run(self, sink: Sink, cursor: str | None) -> None:  # noqa: ARG002 - the port's; a look starts from what is, not from a cursor
        """Look until cancelled."""
        while True:
            await sink.put(await self._look_and_report())
            await self._clock.sleep(self._interval_s)

    def _now(self) -> datetime:
        return event_time(self._clock)

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
        problem, before = self._partly, self._status.error
        self._status.lost += problem is not None
        if problem == before:  # the same failure again is counted, not emitted again
            return facts
        return [*self._status.report("ok" if problem is None else "lost", self._now(), problem), *facts]
