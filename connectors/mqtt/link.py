"""What a connection to a broker is, as a Protocol: `connectors.mqtt.client` has the real one, `connectors.mqtt.fake` the fake.

A link lives from its beginning to its end and is never used again after it was lost. Knows no outbox.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Literal, NoReturn, Protocol

from connectors.mqtt.reason_codes import Acknowledgement
from connectors.mqtt.settings import BrokerSettings
from engine.ports.broker import Message, OutboxRow

Version = Literal["5", "3.1.1"]
"""Of MQTT."""

Sent = asyncio.Future[Acknowledgement]
"""A message under way: gives the broker's answer, or raises BrokerError when the connection was lost before it came."""


Answered = Callable[[Acknowledgement], None]
"""Called with the broker's answer to a message; never, when the connection was lost before it came."""


class Link(Protocol):
    """An open connection."""

    @property
    def version(self) -> Version:
        """Of MQTT."""

    @property
    def in_flight(self) -> int:
        """How many messages the broker lets be under way (Receive Maximum); at least 1."""

    def post(self, message: OutboxRow | Message, answered: Answered) -> None:
        """Send at QoS 1, in the order of the calls. `answered` may be called before this returns; it may post in turn."""

    def send(self, message: OutboxRow | Message) -> Sent:
        """The same, for one who waits."""

    async def lost(self) -> NoReturn:
        """Wait until the connection is gone, then raise BrokerError."""

    async def subscribe(self, topic: str) -> Acknowledgement:
        """Ask for the messages of a topic (a filter with wildcards)."""

    async def read(self, topic: str, take: Callable[[str, bytes], None]) -> Acknowledgement:
        """Ask for what is retained under a topic (a filter with wildcards): it is handed to `take` as it comes, at QoS 0.

        No bound of the broker's for waiting messages then applies. There is no last message: who asked waits until it is quiet.
        """

    async def stop_reading(self) -> None:
        """End what `read` began."""

    def messages(self) -> AsyncIterator[tuple[str, bytes]]:
        """What comes in: topic and payload. Retained messages are left out: they are no news."""

    async def close(self, farewell: Message | None = None) -> None:
        """Publish a last message, then disconnect in order: the will is not published. Takes 2 s at most, raises nothing."""


class Connect(Protocol):
    """Opens connections. Leaving the context cuts the connection if it was not closed: the broker then publishes the will."""

    def __call__(
        self, settings: BrokerSettings, *, client_id: str, version: Version, will: Message
    ) -> AbstractAsyncContextManager[Link]:
        """Connect.

        Raises:
            VersionRefusedError: the broker does not speak this version.
            ClosedUnansweredError: it closed the connection without a word.
            BrokerError: anything else; the message is one sentence that says what to look at.
        """
