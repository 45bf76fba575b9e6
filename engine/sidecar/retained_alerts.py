"""Between publisher and loop: what the broker keeps of alerts goes to the loop, and what the loop knows comes back, as data.

Knows no MQTT and no alert: the comparison is `engine.messages.retained`, what follows from it the loop's.
"""

import json
from collections.abc import Iterator, Sequence

from engine.facts.timestamps import SECOND
from engine.messages.cloudevents import RESOLVED_EXPIRY_S
from engine.messages.retained import Comparison, Difference
from engine.messages.topics import host_topic
from engine.pipeline.intake import Intake, JournalNote, RetainedDiffers
from engine.ports.broker import KnownAlerts, RetainedReader
from engine.ports.clock import Clock

MEMORY = "published_as"
"""Under this name the journal keeps the host names under which alerts may be retained."""

SETTLED_AFTER_S = 150.0
"""After a start: sources have listed everything, and what none has reported again was retracted (`process.STALE_AFTER_S`)."""

AT_ONCE = 200
"""Alerts that one turn of the loop publishes anew."""

_ASK_S = 30.0


class RetainedAlerts:
    """`engine.ports.broker.AlertRecords`, answered by the loop."""

    def __init__(self, intake: Intake, clock: Clock, host: str, remembered: str | None) -> None:
        """Make one at the start of the process.

        Args:
            intake: of the loop.
            clock: for how long the process runs.
            host: the name under which alerts are published.
            remembered: what the journal has under `MEMORY`.
        """
        self._intake = intake
        self._clock = clock
        self._host = host
        self._hosts = list(dict.fromkeys([host, *_names(remembered)]))
        self._started = clock.monotonic()
        self._noted = remembered

    @property
    def topics(self) -> Sequence[str]:
        """Of this host, under each name that it had since all was last in order."""
        return [f"{host_topic(host)}/alert/#" for host in self._hosts]

    async def begin(self, *, everything: bool) -> RetainedReader:
        """See the port. Waits for the loop, however long that is busy."""
        await self._note()
        return Comparison(await self._known(), expiry=RESOLVED_EXPIRY_S * SECOND, everything=everything)

    async def finish(self, reader: RetainedReader, *, complete: bool) -> bool:
        """See the port."""
        assert isinstance(reader, Comparison)  # noqa: S101  of `begin`
        settled = self._clock.monotonic() - self._started >= SETTLED_AFTER_S
        for part in _parts(reader.difference(complete=complete, settled=settled)):
            await self._intake.put(RetainedDiffers(part))
        if complete and settled:
            self._hosts = [self._host]
            await self._note()
        return settled

    async def _known(self) -> KnownAlerts:
        while True:
            try:
                found: KnownAlerts = await self._intake.ask("alerts", timeout_s=_ASK_S)
            except TimeoutError:
                continue
            return found

    async def _note(self) -> None:
        """Before the first alert goes out under a name, the journal has it."""
        text = json.dumps(self._hosts)
        if text != self._noted:
            await self._intake.put(JournalNote(memory={MEMORY: text}))
            self._noted = text


def _names(remembered: str | None) -> list[str]:
    try:
        found = json.loads(remembered or "[]")
    except ValueError:
        return []
    return [name for name in found if isinstance(name, str) and name] if isinstance(found, list) else []


def _parts(difference: Difference) -> Iterator[Difference]:
    """The same in parts that one turn takes in a moment."""
    for start in range(0, len(difference.republish), AT_ONCE):
        yield Difference(difference.republish[start : start + AT_ONCE])
    resolve, clear = list(difference.resolve.items()), difference.clear
    for start in range(0, max(len(resolve), len(clear)), AT_ONCE):
        yield Difference([], dict(resolve[start : start + AT_ONCE]), clear[start : start + AT_ONCE])
