"""What the suite needs of a broker, whether in memory or a real Mosquitto."""

from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol

from connectors.mqtt import client
from connectors.mqtt.fake import FakeBroker
from connectors.mqtt.link import Connect
from connectors.mqtt.settings import BrokerSettings
from engine.ports.broker import Message
from tests.clocks import SYSTEM
from tests.lab.broker import ScratchBroker
from tests.lab.nats import NatsCluster, Node
from tests.lab.subscriber import Subscriber
from tests.lab.waiting import until

Received = Collection[tuple[str, bytes, bool]]
"""Topic, payload, and whether it was there before we listened; grows while one listens."""

DENIED = "dockwarden/h1/denied/+"
"""What nobody may publish on, until `allow_all`."""
ACL = "topic readwrite #\ntopic deny dockwarden/h1/denied/#\n"

QUICK: dict[str, Any] = {"retry_first_s": 0.02, "retry_max_s": 0.1, "denied_retry_s": 0.3, "connect_timeout_s": 5}
"""Settings for tests: short pauses."""


class Broker(Protocol):
    """A broker under test."""

    connect: Connect

    def settings(self, **changes: Any) -> BrokerSettings:
        """How to reach it."""

    def listen(self, *topics: str) -> AbstractContextManager[Received]:
        """Listen as an independent client."""

    def publish(self, message: Message) -> None:
        """Say something as another client."""

    def kill(self) -> None:
        """Let it die, without a word."""

    def start(self) -> None:
        """Start it again."""

    async def allow_all(self) -> None:
        """Let everybody publish everywhere; connections may be lost by it."""


class InMemory:
    """The fake that is shipped."""

    def __init__(self) -> None:
        self.fake = FakeBroker(clock=SYSTEM)
        self.fake.denied.add(DENIED)
        self.connect: Connect = self.fake.connect

    def settings(self, **changes: Any) -> BrokerSettings:
        return BrokerSettings.model_validate({"host": "in-memory", "port": 1, **QUICK, **changes})

    @contextmanager
    def listen(self, *topics: str) -> Iterator[Received]:
        received: list[tuple[str, bytes, bool]] = []
        for topic in topics:
            self.fake.subscribe(topic, lambda *message: received.append(message))
        yield received

    def publish(self, message: Message) -> None:
        self.fake.publish(message)

    def kill(self) -> None:
        self.fake.kill()

    def start(self) -> None:
        self.fake.start()

    async def allow_all(self) -> None:
        self.fake.denied.clear()

    def close(self) -> None:
        """Nothing to stop."""


class HeardOverThere(Collection[tuple[str, bytes, bool]]):
    """What a subscriber received, read anew each time it is looked at."""

    def __init__(self, subscriber: Subscriber) -> None:
        self._subscriber = subscriber

    def __contains__(self, message: object) -> bool:
        return any(message == received for received in self)

    def __iter__(self) -> Iterator[tuple[str, bytes, bool]]:
        return iter([(received.topic, received.payload, received.retained) for received in self._subscriber.all()])

    def __len__(self) -> int:
        return len(self._subscriber.all())


class RealNats:
    """NATS: one server, or three that replicate. Speaks MQTT 3.1.1 alone: no reason codes, no message expiry."""

    def __init__(self, size: int = 1) -> None:
        self.cluster = NatsCluster(size)
        self.cluster.__enter__()
        self.connect: Connect = client.connect

    def settings(self, **changes: Any) -> BrokerSettings:
        return BrokerSettings.from_url(self.cluster.url, **{**QUICK, **changes})

    @contextmanager
    def listen(self, *topics: str) -> Iterator[Received]:
        with Subscriber(self._alive.url, topics=topics, old=True) as subscriber:
            yield HeardOverThere(subscriber)

    def publish(self, message: Message) -> None:
        with Subscriber(self._alive.url, topics=("nothing",), old=True) as subscriber:
            subscriber._client.publish(message.topic, message.payload, qos=1, retain=message.retain).wait_for_publish(10)

    def kill(self) -> None:
        """All servers at once."""
        for node in self.cluster.nodes:
            node.kill()

    def start(self) -> None:
        for node in self.cluster.nodes:
            node.start()
        self.cluster.ready()

    async def allow_all(self) -> None:
        """Nothing is denied: it would not be said."""

    def close(self) -> None:
        """Stop it."""
        self.cluster.close()

    @property
    def _alive(self) -> Node:
        return next(node for node in self.cluster.nodes if node.process is not None)


class RealMosquitto:
    """Mosquitto with persistence and an access control file."""

    def __init__(self) -> None:
        self.scratch = ScratchBroker(acl=ACL)
        self.scratch.__enter__()
        self.connect: Connect = client.connect

    def settings(self, **changes: Any) -> BrokerSettings:
        return BrokerSettings.from_url(self.scratch.url, **{**QUICK, **changes})

    @contextmanager
    def listen(self, *topics: str) -> Iterator[Received]:
        with Subscriber(self.scratch.url, topics=topics) as subscriber:
            yield HeardOverThere(subscriber)

    def publish(self, message: Message) -> None:
        with Subscriber(self.scratch.url, topics=("nothing",)) as subscriber:
            subscriber._client.publish(message.topic, message.payload, qos=1, retain=message.retain).wait_for_publish(5)

    def kill(self) -> None:
        self.scratch.kill()

    def start(self) -> None:
        self.scratch.start()

    async def allow_all(self) -> None:
        self.scratch.write_acl("topic readwrite #\n")
        self.scratch.restart()
        await until(lambda: self.scratch.pid, what="the broker to come back")

    def close(self) -> None:
        """Stop it."""
        self.scratch.close()
