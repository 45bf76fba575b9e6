"""How what is to be said leaves the process. Knows no MQTT client and no journal: rows in, acknowledgements back."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

RowKind = Literal["alert", "resolved", "action", "fact", "status", "reply"]


@dataclass(frozen=True, slots=True)
class OutboxRow:
    """One message that waits to be published."""

    topic: str
    payload: bytes
    kind: RowKind
    retain: bool = False
    expiry_s: int | None = None
    """Seconds after which the broker forgets it (MQTT 5 message expiry, counted from when the broker takes it); None: never."""
    qos: Literal[1] = 1
    """At least once, always: a row goes when its acknowledgement came."""
    seq: int = 0
    """Its number: strictly increasing, never used twice. 0: not numbered yet, the journal does it."""


@dataclass(frozen=True, slots=True)
class Message:
    """A message that is not kept in the outbox, because only the newest one matters: the status, and the last will."""

    topic: str
    payload: bytes
    retain: bool = True


class Outbox(Protocol):
    """What waits to be published, oldest first. Every call may be cancelled.

    A `JournalError` raised by any of them is no end: the publisher says it, pauses and goes on.
    """

    async def batch(self, limit: int, *, after: int = 0) -> Sequence[OutboxRow]:
        """The `limit` oldest rows with a number above `after`, in order of their numbers."""

    async def done(self, seqs: Sequence[int]) -> None:
        """The broker took these: they can go. Numbers that are gone already are no error."""

    async def refused(self, seq: int, reason: str) -> None:
        """The broker can never take this row (too large, say): it goes and counts as lost."""

    async def wait(self, *, after: int) -> None:
        """Return when there is a row with a number above `after`."""


MAX_DENIED_NAMED = 100
"""How many denied topics are named in the status."""


@dataclass(slots=True)
class LinkState:
    """What is known of the connection, for the status. Written by the publisher alone."""

    connected: bool = False
    protocol: str = ""
    """`5` or `3.1.1` while connected."""
    last_error: str | None = None
    """One sentence; None after a connection that holds."""
    connections: int = 0
    """How often it was connected."""
    published: int = 0
    """Rows acknowledged with a good reason code."""
    denied: int = 0
    """Acknowledgements that said no; the rows stay and are tried again."""
    refused: int = 0
    """Rows given up, because the broker can never take them."""
    denied_topics: dict[str, str] = field(default_factory=dict)
    """Topics that the broker denies at present, with its reason; at most 100 are named."""

    def note_denied(self, topic: str, reason: str | None) -> None:
        """Name a topic that is denied; None: it is not any more."""
        if reason is None:
            self.denied_topics.pop(topic, None)
        elif topic in self.denied_topics or len(self.denied_topics) < MAX_DENIED_NAMED:
            self.denied_topics[topic] = reason


StatusSource = Callable[[], Message]
"""Makes the present status; called at each connection and each time `announce` asks for it."""

CommandHandler = Callable[[str, bytes], Awaitable[None]]
"""Gets the name (last level of the topic) and the payload of a command. What it raises is logged and counted, no more."""


class Publisher(Protocol):
    """Drains an outbox into a broker."""

    @property
    def state(self) -> LinkState:
        """What is known of the connection."""

    def announce(self) -> None:
        """The status changed: publish it soon. Many calls in a row may give one message."""

    async def run(self, outbox: Outbox) -> None:
        """Publish until cancelled; reconnect by itself, for ever, with growing pauses."""
