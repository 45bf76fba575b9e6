"""A consumer: what is heard goes into the inbox, from there to the receiver; what still fires is said again where that is due."""

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Coroutine

from .alerts import KEPT, Alert, Newest, Presence, read_alert, read_status
from .delivery import RETRY_FIRST_S, Inbox, Receiver, hand_on
from .hearing import hear

GRACE_S = 60.0
"""A sidecar that is away for longer is an alert; a restart is none."""


class Consumer:
    """One consumer.

    Args:
        receiver: who is told.
        grace_s: seconds after which a sidecar that went away is an alert.
        again_s: seconds after which alerts that fire are handed on again; None: once is enough.
    """

    def __init__(self, receiver: Receiver, *, grace_s: float = GRACE_S, again_s: float | None = None) -> None:
        self._receiver = receiver
        self._again_s = again_s
        self._inbox = Inbox()
        self._newest = Newest()
        self._presence = Presence(grace_s)
        self._firing: OrderedDict[str, Alert] = OrderedDict()
        self._pause_s = min(1.0, grace_s)

    async def run(self, broker: str, name: str, *, retained_again: bool = True, first_s: float = RETRY_FIRST_S) -> None:
        """Go on until cancelled. Arguments as for `hear` and `hand_on`."""
        async with asyncio.TaskGroup() as group:
            group.create_task(hear(broker, name, self.take, retained_again=retained_again), name="hear")
            group.create_task(hand_on(self._inbox, self._receiver, first_s=first_s), name="hand on")
            group.create_task(self._look_at_the_clock(), name="clock")

    def take(self, payload: bytes) -> None:
        """A message was heard."""
        alert = read_alert(payload)
        if alert is not None:
            if self._newest.is_news(alert):
                self._put(alert)
            return
        status = read_status(payload)
        ended = self._presence.told(status[0], here=status[1], now=time.monotonic()) if status is not None else None
        if ended is not None:
            self._put(ended)

    def _put(self, alert: Alert) -> None:
        self._firing.pop(alert.dedup_key, None)
        if alert.firing:
            self._firing[alert.dedup_key] = alert
            while len(self._firing) > KEPT:
                self._firing.popitem(last=False)
        self._inbox.put(alert)

    async def _look_at_the_clock(self) -> None:
        since = time.monotonic()
        while True:
            await asyncio.sleep(self._pause_s)
            now = time.monotonic()
            for alert in self._presence.due(now):
                self._put(alert)
            if self._again_s is not None and now - since >= self._again_s:
                since = now
                for alert in self._firing.values():
                    self._inbox.put_again(alert)


def run(work: Coroutine[None, None, None]) -> None:
    """Run a consumer as a program, until it is interrupted."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    try:
        asyncio.run(work)
    except KeyboardInterrupt:
        logging.getLogger(__name__).info("stopped")
