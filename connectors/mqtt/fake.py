"""A broker and an outbox in memory, for tests and simulation: the publisher drains into it as into a real one.

What it does is what the contract suite asks of Mosquitto: retained messages and their expiry, wills, one session per client id,
denied topics, refused connections, versions, limits, and dying at any moment. Faults come where a test or a simulation wants
them, time is that of the clock handed in. Knows no sockets.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Literal, NoReturn

from connectors.mqtt.link import Answered, Link, Sent, Version
from connectors.mqtt.reason_codes import Acknowledgement, ClosedUnansweredError, RefusedError, VersionRefusedError
from connectors.mqtt.settings import BrokerSettings
from engine.errors import BrokerError
from engine.ports.broker import Message, OutboxRow
from engine.ports.clock import Clock

_COMMANDS_WAITING = 100

Point = Literal["connect", "publish", "acknowledge", "read"]
"""Where a fault can come: a connection is made, a message arrives, was taken, what is retained is asked for."""

Fault = Literal["refuse", "hang", "cut"]
"""refuse: no, in words. hang: no answer, ever. cut: the connection ends without a word. At "publish" it was not taken, at
"acknowledge" it was."""


def no_fault(_point: Point, _what: str) -> None:
    """The broker of a good day."""


def matches(pattern: str, topic: str) -> bool:
    """Whether a topic filter with `+` and `#` matches a topic (MQTT 5.0, 4.7.1)."""
    wanted, levels = pattern.split("/"), topic.split("/")
    for place, level in enumerate(wanted):
        if level == "#":
            return True
        if place >= len(levels) or level not in {"+", levels[place]}:
            return False
    return len(wanted) == len(levels)


class MemoryOutbox:
    """An `Outbox` (see `engine.ports.broker`) in memory."""

    def __init__(self) -> None:
        self.rows: dict[int, OutboxRow] = {}
        self.refusals: dict[int, str] = {}
        self._changed = asyncio.Condition()

    async def put(self, *rows: OutboxRow) -> None:
        """Add rows; their numbers must rise."""
        async with self._changed:
            self.rows |= {row.seq: row for row in rows}
            self._changed.notify_all()

    async def batch(self, limit: int, *, after: int = 0) -> Sequence[OutboxRow]:
        """The oldest rows after a number."""
        return [row for seq, row in self.rows.items() if seq > after][:limit]

    async def done(self, seqs: Sequence[int]) -> None:
        """They can go."""
        async with self._changed:
            for seq in seqs:
                self.rows.pop(seq, None)
            self._changed.notify_all()

    async def refused(self, seq: int, reason: str) -> None:
        """It goes, and the reason is kept."""
        self.refusals[seq] = reason
        await self.done([seq])

    async def wait(self, *, after: int) -> None:
        """Until there is a row after a number."""
        async with self._changed:
            await self._changed.wait_for(lambda: any(seq > after for seq in self.rows))

    async def wait_empty(self) -> None:
        """Until every row is gone."""
        async with self._changed:
            await self._changed.wait_for(lambda: not self.rows)


@dataclass(frozen=True, slots=True)
class _Retained:
    payload: bytes
    expires: float | None


class FakeBroker:
    """A broker that can be stopped, killed and made to refuse. Retained messages survive, as with Mosquitto's persistence."""

    def __init__(
        self,
        *,
        clock: Clock,
        in_flight: int = 20,
        largest: int = 268_435_455,
        versions: tuple[Version, ...] = ("5", "3.1.1"),
        fault: Callable[[Point, str], Fault | None] = no_fault,
    ) -> None:
        """A running one.

        Args:
            clock: for expiry, and for what hangs.
            in_flight: messages that it takes at a time.
            largest: bytes of topic and payload that it takes.
            versions: of MQTT that it knows.
            fault: asked at each point, with the client id or the topic, what goes wrong there.
        """
        self.fault = fault
        self._clock = clock
        self.in_flight = in_flight
        self.largest = largest
        self.versions = versions
        self.running = True
        self.refusal: str | None = None
        """A sentence with which every connection is refused."""
        self.denied: set[str] = set()
        """Topic filters on which nobody may publish."""
        self.taken: list[tuple[str, bytes, bool]] = []
        """Every message it took: topic, payload, retain."""
        self._retained: dict[str, _Retained] = {}
        self._links: dict[str, _FakeLink] = {}
        self._subscriptions: list[tuple[str, Callable[[str, bytes, bool], None]]] = []

    @property
    def retained(self) -> dict[str, bytes]:
        """What a late subscriber would get."""
        now = self._clock.monotonic()
        return {topic: kept.payload for topic, kept in self._retained.items() if kept.expires is None or kept.expires > now}

    @asynccontextmanager
    async def connect(self, settings: BrokerSettings, *, client_id: str, version: Version, will: Message) -> AsyncIterator[Link]:
        """Connect to this broker; see `connectors.mqtt.link.Connect`."""
        await asyncio.sleep(0)
        if not self.running:
            raise BrokerError(f"{settings.where}: nothing listens there (connection refused)")
        match self.fault("connect", client_id):
            case "refuse":
                raise RefusedError(f"{settings.where}: not let in")
            case "hang":
                await self._clock.sleep(settings.connect_timeout_s)
                raise BrokerError(f"{settings.where}: no answer within {settings.connect_timeout_s:g} s")
            case "cut":
                raise ClosedUnansweredError(f"{settings.where}: the connection was closed without an answer")
        if version not in self.versions:
            raise VersionRefusedError(f"{settings.where}: this version of MQTT is refused")
        if self.refusal is not None:
            raise BrokerError(f"{settings.where}: {self.refusal}")
        if (old := self._links.pop(client_id, None)) is not None:
            self._end(old, "the connection was lost")
        link = self._links[client_id] = _FakeLink(self, version, will)
        try:
            yield link
        finally:
            if self._links.get(client_id) is link:
                del self._links[client_id]
                self._end(link, "the connection was cut")

    def kill(self) -> None:
        """Die: connections are lost without a word, what was under way is not acknowledged."""
        self.running = False
        links, self._links = list(self._links.values()), {}
        for link in links:
            link.die("the connection was lost")

    def start(self) -> None:
        """Come back with what was retained."""
        self.running = True

    def cut(self) -> None:
        """End every connection without a word; wills are published."""
        links, self._links = list(self._links.values()), {}
        for link in links:
            self._end(link, "the connection was lost")

    def snapshot(self) -> "dict[str, _Retained]":
        """Its store at this moment."""
        return dict(self._retained)

    def set_back(self, store: "dict[str, _Retained]") -> None:
        """Have an older store again, as after a restored backup."""
        self._retained = dict(store)

    def subscribe(self, pattern: str, receive: Callable[[str, bytes, bool], None]) -> None:
        """Call `receive` with topic, payload and retained for what is retained and for what comes."""
        for topic, payload in self.retained.items():
            if matches(pattern, topic):
                receive(topic, payload, True)
        self._subscriptions.append((pattern, receive))

    def publish(self, message: OutboxRow | Message) -> None:
        """Take a message from anybody."""
        self.taken.append((message.topic, message.payload, message.retain))
        if message.retain:
            expiry = message.expiry_s if isinstance(message, OutboxRow) else None
            expires = None if expiry is None else self._clock.monotonic() + expiry
            if message.payload:
                self._retained[message.topic] = _Retained(message.payload, expires)
            else:  # clears (MQTT 5.0, 3.3.1.3)
                self._retained.pop(message.topic, None)
        for pattern, receive in self._subscriptions:
            if matches(pattern, message.topic):
                receive(message.topic, message.payload, False)

    def answer(self, message: OutboxRow | Message, version: Version) -> Acknowledgement:
        """Take a message or not, and answer. Version 3.1.1 has no way to refuse."""
        if len(message.topic) + len(message.payload) > self.largest:
            return Acknowledgement("permanent", "packet too large")
        if set(message.topic) & set("+#\x00"):
            return Acknowledgement("permanent", "topic name invalid")
        if any(matches(pattern, message.topic) for pattern in self.denied):
            return Acknowledgement("denied", "Not authorized (0x87)") if version == "5" else Acknowledgement("taken")
        self.publish(message)
        return Acknowledgement("taken")

    def _end(self, link: "_FakeLink", reason: str) -> None:
        """The connection ends without a DISCONNECT of the client: its will is published."""
        if not link.closed:
            link.die(reason)
            self.publish(link.will)


class _FakeLink:
    """A `Link` to a FakeBroker."""

    def __init__(self, broker: FakeBroker, version: Version, will: Message) -> None:
        self.version = version
        self.in_flight = broker.in_flight
        self.will = will
        self.closed = False
        self._broker = broker
        self._gone = asyncio.Event()
        self._reason = ""
        self._under_way: set[Sent] = set()
        self._incoming: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue(_COMMANDS_WAITING)

    def post(self, message: OutboxRow | Message, answered: Answered) -> None:
        """See `Link`."""
        # One turn of the loop to the broker, one back: it may die between the two.
        asyncio.get_running_loop().call_soon(self._deliver, message, answered)

    def send(self, message: OutboxRow | Message) -> Sent:
        """See `Link`."""
        sent: Sent = asyncio.get_running_loop().create_future()
        if self._gone.is_set():
            sent.set_exception(BrokerError(self._reason))
            return sent
        self._under_way.add(sent)
        sent.add_done_callback(self._under_way.discard)
        self.post(message, lambda answer: None if sent.done() else sent.set_result(answer))
        return sent

    def _deliver(self, message: OutboxRow | Message, answered: Answered) -> None:
        if self._gone.is_set():
            return
        match self._broker.fault("publish", message.topic):
            case "cut":
                self._broker.cut()
                return
            case "hang":
                return
            case "refuse":
                answer = Acknowledgement("denied", "Not authorized (0x87)")
            case _:
                answer = self._broker.answer(message, self.version)
        match self._broker.fault("acknowledge", message.topic):
            case "cut":
                self._broker.cut()
            case "hang":
                pass
            case _:
                asyncio.get_running_loop().call_soon(self._acknowledge, answered, answer)

    def _acknowledge(self, answered: Answered, answer: Acknowledgement) -> None:
        if not self._gone.is_set():
            answered(answer)

    async def lost(self) -> NoReturn:
        """See `Link`."""
        await self._gone.wait()
        raise BrokerError(self._reason)

    async def subscribe(self, topic: str) -> Acknowledgement:
        """See `Link`."""
        self._broker.subscribe(topic, self._receive)
        return Acknowledgement("taken")

    async def read(self, topic: str, take: Callable[[str, bytes], None]) -> Acknowledgement:
        """See `Link`."""
        match self._broker.fault("read", topic):
            case "refuse":
                return Acknowledgement("denied", "Not authorized (0x87)")
            case "hang":
                return Acknowledgement("taken")
            case "cut":
                self._broker.cut()
        for name, payload in self._broker.retained.items():
            if not self._gone.is_set() and matches(topic, name):
                take(name, payload)
        return Acknowledgement("taken")

    async def stop_reading(self) -> None:
        """See `Link`."""

    def _receive(self, topic: str, payload: bytes, retained: bool) -> None:
        if not retained and not self._gone.is_set() and not self._incoming.full():
            self._incoming.put_nowait((topic, payload))

    async def messages(self) -> AsyncIterator[tuple[str, bytes]]:
        """See `Link`."""
        while True:
            yield await self._incoming.get()

    async def close(self, farewell: Message | None = None) -> None:
        """See `Link`."""
        if not self._gone.is_set():
            if farewell is not None:
                self._broker.answer(farewell, self.version)
            self.closed = True
            self.die("closed")

    def die(self, reason: str) -> None:
        """The connection is gone."""
        self._reason = reason
        self._gone.set()
        for sent in tuple(self._under_way):
            if not sent.done():
                sent.set_exception(BrokerError(reason))
                sent.exception()  # looked at: whoever waits for it still gets it, and nobody waiting is no news
        self._under_way.clear()
