"""Looks up, in batches, what events do not carry: commands and labels; and confirms exit codes that a label could forge.

Bounded in every way: a storm of 6,000 containers costs a list for each batch of events and no inspection, and a daemon that
hangs delays the events by one time-out every ten seconds, no more.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Iterable
from datetime import datetime, timedelta

from connectors.docker.api.event import DockerEvent
from connectors.docker.containers.book import Change, ContainerBook
from engine.errors import DockerError
from engine.ports.clock import Clock, event_time
from engine.ports.docker import DockerApi

LOOKUP_S = 2.0
"""Events wait for a look-up no longer than this, then go on without a command."""

PAUSE_S = 10.0
"""After a look-up that timed out there is none for so long: Docker hangs or is overloaded."""

FILTER_IDS = 64
"""Up to so many ids are asked for by filter (4.3 ms, whatever the number of containers); more by one full list (0.2 s for
3,000). An address of 64 ids is 5 KB long, a hundredth of what Docker's HTTP server takes."""

CONFIRMATIONS = 4
"""Exit codes confirmed by inspection in one batch of events. Only containers with a label named exitCode need it."""

BURST = 10
A_SECOND = 20
"""Look-ups in one go, and a second in the long run. In quiet times an event is looked up at once (1.1 ms); in a storm the events
of 50 ms share one, so that 6,000 containers at 107 a second cost 1,100 look-ups of 1.3 ms in all."""

_TRIED = 4_096
_SAME_DEATH = timedelta(seconds=1)
"""Docker notes FinishedAt when the process ends, and reports it within milliseconds; a later death is another one's."""


class Lookup:
    """Asks Docker, on a client of its own, and fills the book."""

    def __init__(
        self,
        docker: DockerApi,
        book: ContainerBook,
        *,
        clock: Clock,
        timeout_s: float = LOOKUP_S,
        pause_s: float = PAUSE_S,
    ) -> None:
        self._docker = docker
        self._book = book
        self._timeout_s = timeout_s
        self._pause_s = pause_s
        self._clock = clock
        self._not_before = 0.0
        self._tried: OrderedDict[str, None] = OrderedDict()
        self._tokens = float(BURST)
        self._filled_at = clock.monotonic()

    async def learn(self, events: Iterable[DockerEvent]) -> None:
        """See to it that the book knows the containers of these events, as far as Docker still has them."""
        wanted: list[str] = []
        for event in events:
            if event.id not in self._tried and event.about_container and self._book.command(event.id) is None:
                self._tried[event.id] = None
                wanted.append(event.id)
        while len(self._tried) > _TRIED:
            self._tried.popitem(last=False)
        if not wanted or self._clock.monotonic() < self._not_before:
            return
        await self._wait_for_turn()
        try:
            async with asyncio.timeout(self._timeout_s):
                found = await self._docker.list_containers(ids=wanted if len(wanted) <= FILTER_IDS else ())
        except (DockerError, TimeoutError) as error:
            self._pause_after(error)
            return
        asked = set(wanted)
        for summary in found:
            if summary.id in asked:
                self._book.learn(summary)

    async def _wait_for_turn(self) -> None:
        """Keep to the rate; waits 50 ms at most. Meanwhile the stream is drained, and the next look-up serves more events."""
        now = self._clock.monotonic()
        self._tokens = min(BURST, self._tokens + (now - self._filled_at) * A_SECOND) - 1
        self._filled_at = now
        if self._tokens < 0:
            await self._clock.sleep(-self._tokens / A_SECOND)

    async def confirm(self, container: str) -> list[Change]:
        """Have the book know how this container is now; what changed."""
        if self._clock.monotonic() < self._not_before:
            return []
        mark = self._book.mark(event_time(self._clock))
        try:
            async with asyncio.timeout(self._timeout_s):
                detail = await self._docker.inspect(container)
        except (DockerError, TimeoutError) as error:
            self._pause_after(error)
            return []
        return self._book.apply_detail(mark, detail)

    async def exit_codes(self, events: Iterable[DockerEvent]) -> dict[int, int]:
        """Confirmed exit codes, by the nanoseconds of the event, of deaths whose own code may be a label's."""
        confirmed: dict[int, int] = {}
        asked = 0
        for event in events:
            if event.action != "die" or asked >= CONFIRMATIONS or self._clock.monotonic() < self._not_before:
                continue
            if event.could_be_forged("exitCode", self._book.labels(event.id)):
                asked += 1
                exit_code = await self._exit_code(event.id, event.at)
                if exit_code is not None:
                    confirmed[event.nano] = exit_code
        return confirmed

    async def _exit_code(self, container: str, at: datetime) -> int | None:
        try:
            async with asyncio.timeout(self._timeout_s):
                detail = await self._docker.inspect(container)
        except (DockerError, TimeoutError) as error:
            self._pause_after(error)
            return None
        same = detail.finished_at is not None and abs(detail.finished_at - at) < _SAME_DEATH
        return detail.exit_code if same and detail.status in ("exited", "dead", "removing") else None

    def _pause_after(self, error: Exception) -> None:
        if isinstance(error, TimeoutError) or getattr(error, "kind", "") in ("timeout", "unreachable", "denied"):
            self._not_before = self._clock.monotonic() + self._pause_s
