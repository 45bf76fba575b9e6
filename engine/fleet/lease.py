"""Which of two engines sends commands: a lease over one retained topic.

Sans-I/O: messages and monotonic time come in, messages go out.

A broker delivers the messages of one topic to every subscriber in one order. The holder renews; a claim names the message after
which the lease had run out for who claims, and is good only if that is still the last good message when it comes back *from the
broker*: a renewal that was under way meanwhile makes it nothing, for everybody alike. No clock of two machines is compared: who
holds the lease counts from when it *sent* the renewal that came back, all others from when they *received* it, which is later.
So a holder that hears nothing of itself stops before anybody else may begin.
"""

import json
from dataclasses import dataclass
from typing import Any, Final

from engine.messages.topics import host_topic

LEASE_S: Final = 3.0
"""Seconds for which a renewal is good."""

RENEW_S: Final = 1.0
"""Seconds between renewals."""

MARGIN_S: Final = 0.5
"""The holder stops so long before its renewal is over, for a command that it has just begun to send."""

MAX_PAYLOAD: Final = 4096

MAX_UNDER_WAY: Final = 16
"""Messages of ours that may come back; older ones would be too old to count."""


def lease_topic(fleet: str) -> str:
    """Where it is retained."""
    return host_topic(fleet, "lease")


class Lease:
    """One engine's knowledge of the lease."""

    def __init__(self, engine: str, now: float, *, token: str = "") -> None:
        """Know nothing yet; nothing is claimed before a lease could have run out.

        Args:
            engine: name of this engine.
            now: seconds of the monotonic clock.
            token: names this process, so that no two messages are alike.
        """
        self.engine = engine
        self._token = token
        self._term = 0
        self._holder = ""
        self._last = ""
        """The last good message: a claim has to name it. Empty for none; with a `?` while we cannot judge."""
        self._certain = False
        """Whether a good message was seen live: what is retained may be a claim that was none."""
        self._until = now + LEASE_S
        """Nobody but the holder may claim before."""
        self._sent: dict[str, float] = {}
        """Our messages under way, with when they were sent."""
        self._number = 0
        self._good_until = float("-inf")
        self._next = now

    def holds(self, now: float) -> bool:
        """Whether this engine may send commands at this moment."""
        return self._holder == self.engine and now < self._good_until - MARGIN_S

    @property
    def holder(self) -> str:
        """Who had it last; empty when nobody is known."""
        return self._holder

    def due(self, now: float) -> bytes | None:
        """What is to be published (retained) now, None for nothing. Asked often."""
        ours = self._holder == self.engine and now < self._good_until
        if now < self._next or (not ours and now < self._until):
            return None
        self._next = now + RENEW_S
        return self._message(self._term, now) if ours else self._message(self._term + 1, now, after=self._last)

    def receive(self, payload: bytes, now: float, *, retained: bool) -> None:
        """A message of the topic came. A retained one says what was last; only live ones show who has the lease."""
        message = _read(payload)
        if message is None:
            return
        if retained:
            self._until = now + LEASE_S
            if not self._certain:
                self._term, self._last = max(self._term, message.term), message.id
            return
        if message.after is None:
            good = message.term > self._term or (message.term == self._term and self._holder in ("", message.engine))
        else:
            good = message.term == self._term + 1 and message.after == self._last
        if good:
            self._adopt(message, now)
        elif not self._certain and message.after is not None:
            self._term, self._last = max(self._term, message.term), f"?{message.id}"
            self._until = now + LEASE_S

    def _adopt(self, message: "_Message", now: float) -> None:
        if message.engine != self._holder:
            self._good_until = float("-inf")
        self._term, self._holder, self._last, self._certain = message.term, message.engine, message.id, True
        self._until = now + LEASE_S
        sent = self._sent.pop(message.id, None)
        if sent is not None:
            self._good_until = max(self._good_until, sent + LEASE_S)

    def disconnected(self) -> None:
        """The connection is gone: what is under way counts for nothing, and messages may be missed."""
        self._sent.clear()
        self._good_until = float("-inf")
        self._holder = ""
        self._certain = False

    def _message(self, term: int, now: float, after: str | None = None) -> bytes:
        self._number += 1
        name = f"{self.engine}#{self._token}#{self._number}"
        self._sent[name] = now
        while len(self._sent) > MAX_UNDER_WAY:
            del self._sent[next(iter(self._sent))]
        claim = {} if after is None else {"after": after}
        return json.dumps({"term": term, "engine": self.engine, "id": name, **claim}).encode()


@dataclass(frozen=True, slots=True)
class _Message:
    term: int
    engine: str
    id: str
    after: str | None
    """Of a claim: the message that it comes after; None for a renewal."""


def _read(payload: bytes) -> _Message | None:
    """The message, None for what is none of a lease."""
    if len(payload) > MAX_PAYLOAD:
        return None
    try:
        content: Any = json.loads(payload)
        term, engine, name, after = content["term"], content["engine"], content["id"], content.get("after")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    if type(term) is not int or not 0 < term < 1 << 53:
        return None
    texts = isinstance(engine, str) and engine and isinstance(name, str) and (after is None or isinstance(after, str))
    return _Message(term, engine, name, after) if texts else None
