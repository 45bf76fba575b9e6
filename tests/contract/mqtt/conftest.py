import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, cast

import pytest

from connectors.mqtt.fake import MemoryOutbox
from connectors.mqtt.publisher import MqttPublisher
from engine.ports.broker import AlertRecords, CommandHandler, Message, Outbox
from tests.clocks import SYSTEM
from tests.contract.mqtt.brokers import Broker, InMemory, RealMosquitto, RealNats


@pytest.fixture(
    params=[InMemory, RealMosquitto, RealNats, partial(RealNats, 3)], ids=["in memory", "mosquitto", "nats", "nats cluster"]
)
def broker(request: pytest.FixtureRequest) -> Iterator[Broker]:
    """Each kind of broker in turn."""
    made = request.param()
    yield cast("Broker", made)
    made.close()


@pytest.fixture(params=[InMemory, RealMosquitto], ids=["in memory", "mosquitto"])
def broker_of_5(request: pytest.FixtureRequest) -> Iterator[Broker]:
    """Those that speak MQTT 5: with reason codes and message expiry."""
    made = request.param()
    yield cast("Broker", made)
    made.close()


STATUS = "dockwarden/h1/status"


class Publishing:
    """A publisher at work, with an outbox."""

    def __init__(self, publisher: MqttPublisher, outbox: MemoryOutbox) -> None:
        self.publisher = publisher
        self.outbox = outbox
        self.task: asyncio.Task[None] | None = None
        self.status = b"online"

    async def stop(self) -> None:
        """Cancel it and wait for its end."""
        task, self.task = self.task, None
        if task is not None:
            task.cancel()
            await asyncio.wait({task}, timeout=10)
            assert task.cancelled()


@asynccontextmanager
async def publishing(
    broker: Broker,
    *,
    on_command: CommandHandler | None = None,
    outbox: Outbox | None = None,
    alerts: AlertRecords | None = None,
    **settings: Any,
) -> AsyncIterator[Publishing]:
    """Run a publisher on a broker until the block ends."""
    memory = MemoryOutbox()
    made: Publishing
    publisher = MqttPublisher(
        broker.settings(**settings),
        host_topic="dockwarden/h1",
        status=lambda: Message(STATUS, made.status),
        clock=SYSTEM,
        will=lambda: Message(STATUS, b"offline"),
        on_command=on_command,
        alerts=alerts,
        connect=broker.connect,
        random=lambda: 0.5,
    )
    made = Publishing(publisher, memory)
    made.task = asyncio.create_task(publisher.run(outbox or memory), name="publisher under test")
    try:
        yield made
    finally:
        await made.stop()
