"""Runs a publisher on a broker until it is killed. Argument: the broker's URL."""

import asyncio
import sys

from connectors.mqtt.fake import MemoryOutbox
from connectors.mqtt.publisher import MqttPublisher
from connectors.mqtt.settings import BrokerSettings
from engine.messages.cloudevents import StatusData, last_will, status_event
from engine.ports.clock import SystemClock

publisher = MqttPublisher(
    BrokerSettings.from_url(sys.argv[1]),
    host_topic="dockwarden/h1",
    status=lambda: status_event(StatusData(state="online", host="h1", version="1"), at=0, event_id="1"),
    clock=SystemClock(),
    will=lambda: last_will(host="h1", version="1", at=0),
)


async def main() -> None:
    """Never ends by itself."""
    await publisher.run(MemoryOutbox())


asyncio.run(main())
