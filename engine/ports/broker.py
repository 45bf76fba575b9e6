"""How messages leave the process. Knows no MQTT client and no journal: rows in, acknowledgements back."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from engine.facts.timestamps import Micros

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

    A `JournalError` raised by any of them is no end: the publisher logs it, pauses and goes on.
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
    """Acknowledgements that refuse; the rows stay and are tried again."""
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


@dataclass(frozen=True, slots=True)
class AlertVersion:
    """The newest message of an alert that fires."""

    seq: int
    """Its number; 0 when it was published before a restart."""
    updated_at: Micros


@dataclass(frozen=True, slots=True)
class KnownAlerts:
    """What is known of alerts at one moment."""

    firing: Mapping[str, AlertVersion]
    """By topic: those that were published and fire."""
    last_seq: int
    """The highest number given to a message by then."""
    now: Micros


class RetainedReader(Protocol):
    """Takes what the broker keeps."""

    def add(self, topic: str, payload: bytes) -> None:
        """One retained message."""


class AlertRecords(Protocol):
    """Holds what the broker keeps of alerts against what is known."""

    @property
    def topics(self) -> Sequence[str]:
        """Topic filters under which alerts are retained."""

    async def begin(self, *, everything: bool) -> RetainedReader:
        """Begin a comparison with what is known now. `everything`: publish all that fires anew."""

    async def finish(self, reader: RetainedReader, *, complete: bool) -> bool:
        """Put what is missing or wrong into the outbox. False: it is too early for a judgement; read again later.

        Args:
            reader: of `begin`.
            complete: all retained messages were added; False: they cannot be read.
        """


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

    def republish(self) -> None:
        """Publish every alert that fires anew, now or once connected."""

    async def run(self, outbox: Outbox) -> None:
        """Publish until cancelled; reconnect by itself, for ever, with growing pauses."""
