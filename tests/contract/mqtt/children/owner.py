"""Starts a broker of its own and waits to be killed. Arguments: folder, preferred port. Prints the broker's pid and port."""

import asyncio
import sys
from pathlib import Path

from connectors.mqtt.embedded_broker import OwnBroker


async def main() -> None:
    """Never ends by itself."""
    async with OwnBroker(Path(sys.argv[1]), port=int(sys.argv[2])) as broker:
        print(broker.pid, broker.port, flush=True)  # noqa: T201  the parent reads it
        await broker.run()


asyncio.run(main())
