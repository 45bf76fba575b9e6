"""Hands alerts on by HTTP, again and again until they are taken. Knows no MQTT, and not what a pager or a chat wants to read."""

import asyncio
import logging
import random
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlsplit

import aiohttp

from .alerts import KEPT, Alert

_log = logging.getLogger(__name__)

RETRY_FIRST_S, RETRY_MAX_S = 1.0, 60.0
REQUEST_S = 10.0
OK, WRONG, FAILED = 200, 300, 500
"""2xx: taken; from 500 on: the receiver's own trouble."""
TEMPORARY = frozenset({408, 429})
"""Time-out and too many requests. Every other 4xx says that the request itself is wrong, and will be wrong again."""


@dataclass(frozen=True)
class Request:
    """One HTTP POST."""

    url: str
    body: Any


class Receiver(Protocol):
    """Who is told."""

    def requests(self, alert: Alert) -> Sequence[Request]:
        """What to post about an alert; nothing, when it is not worth saying. Asked again when a request failed."""

    def delivered(self, alert: Alert) -> None:
        """It was posted."""


class Inbox:
    """The newest state of each alert until it is handed on. Bounded: the oldest go first, and that is logged."""

    def __init__(self) -> None:
        self._waiting: OrderedDict[str, Alert] = OrderedDict()
        self._some = asyncio.Event()

    def put(self, alert: Alert) -> None:
        """Take in, in place of what waits about the same trouble."""
        self._waiting[alert.dedup_key] = alert
        if len(self._waiting) > KEPT:
            _, lost = self._waiting.popitem(last=False)
            _log.error("too many alerts wait, dropped %s", lost.dedup_key)
        self._some.set()

    def put_again(self, alert: Alert) -> None:
        """Take in what was heard before, unless something newer about it waits."""
        if alert.dedup_key not in self._waiting:
            self.put(alert)

    async def take(self) -> Alert:
        """Await the one that waits longest, and take it out."""
        while not self._waiting:
            self._some.clear()
            await self._some.wait()
        return self._waiting.popitem(last=False)[1]


async def hand_on(inbox: Inbox, receiver: Receiver, *, first_s: float = RETRY_FIRST_S) -> None:
    """Hand on until cancelled.

    After a failure it pauses for `first_s`, doubled each time up to a minute, of which jitter takes up to one half.
    """
    pause = first_s
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=REQUEST_S)) as session:
        while True:
            alert = await inbox.take()
            if all([await _post(session, request) for request in receiver.requests(alert)]):
                receiver.delivered(alert)
                pause = first_s
                continue
            inbox.put_again(alert)
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311  jitter, no secret
            pause = min(2 * pause, RETRY_MAX_S)


async def _post(session: aiohttp.ClientSession, request: Request) -> bool:
    """Post it; False when it is worth trying again. What will never be taken is logged and counts as done."""
    try:
        # Redirects are for browsers: a POST that is redirected becomes a GET (RFC 9110, 15.4).
        async with session.post(request.url, json=request.body, allow_redirects=False) as answer:
            if OK <= answer.status < WRONG:
                return True
            text = (await answer.text(errors="replace"))[:500]
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        # The host alone: an address of a webhook is a secret.
        _log.warning("%s cannot be reached: %s", urlsplit(request.url).hostname, type(error).__name__)
        return False
    temporary = answer.status in TEMPORARY or answer.status >= FAILED
    level = logging.WARNING if temporary else logging.ERROR
    _log.log(level, "%s answers %d: %s", urlsplit(request.url).hostname, answer.status, text)
    return not temporary
