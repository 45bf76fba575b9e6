"""Starts a broker, publishes, and waits to be killed. Arguments: folder, preferred port. Prints the broker's pid and port."""

import asyncio
import sys
from pathlib import Path

from connectors.mqtt.embedded_broker import EmbeddedBroker
from engine.ports.broker import Message
from engine.ports.clock import SystemClock


async def main() -> None:
    """Never ends by itself."""
    async with EmbeddedBroker(Path(sys.argv[1]), clock=SystemClock(), port=int(sys.argv[2])) as broker:
        print(broker.pid, broker.port, flush=True)  # noqa: T201  the parent reads it
        async with broker.connect(broker.settings(), client_id="owner", version="5", will=Message("will", b"")) as link:
            await link.send(Message("dockwarden/h/alert/a/b", b"x"))
        print("published", flush=True)  # noqa: T201  likewise
        await broker.run()


asyncio.run(main())
