"""A consumer between a real broker and real receivers, in the test's own process and on the real clock."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import yaml
from paho.mqtt.publish import single

from connectors.consumers.config import Config, Program, load_config
from connectors.consumers.consumer import Consumer
from connectors.consumers.store import Store
from connectors.consumers.together import end
from tests.clocks import SYSTEM
from tests.lab.broker import ScratchBroker
from tests.unit.consumers.build import payload

QUICK = {"retry_first_s": 0.02, "retry_max_s": 0.05, "timeout_s": 2.0, "settle_s": 0.0}
"""What waits in the field must not wait in a test."""


def secret(folder: Path, name: str, text: str) -> str:
    """A file with a secret; its path."""
    path = folder / name
    path.write_text(f"{text}\n")
    return str(path)


def config(
    folder: Path,
    broker: ScratchBroker,
    receivers: Mapping[str, Mapping[str, Any]],
    program: Program = "pager",
    *,
    connection: Mapping[str, Any] | None = None,
    **others: Any,
) -> Config:
    """A configuration, by way of a file, as people write it."""
    content = {
        "broker": {"url": broker.url, **(connection or {})},
        "state": str(folder / "state"),
        "receivers": {name: {**QUICK, **receiver} for name, receiver in receivers.items()},
        "routes": [{"receivers": list(receivers)}],
        "runbooks_url": "https://git.example/rules",
        **others,
    }
    file = folder / f"{program}.yaml"
    file.write_text(yaml.safe_dump(content))
    return load_config(file, program)


def opened(chosen: Config) -> Store:
    """Its queues."""
    return Store(chosen.state / "queues.sqlite", max_rows=chosen.queue_rows, max_bytes=chosen.queue_bytes)


@asynccontextmanager
async def consuming(chosen: Config, program: Program = "pager") -> AsyncIterator[Consumer]:
    """Run it."""
    consumer = Consumer(program, chosen, opened(chosen), clock=SYSTEM, draw=lambda: 0.0)
    task = asyncio.create_task(consumer.run(), name="consumer")
    try:
        yield consumer
        if task.done():
            task.result()
    finally:
        await end([task])


async def publish(
    broker: ScratchBroker,
    seq: int,
    status: str = "firing",
    *,
    host: str = "web-7",
    rule: str = "restart-loop",
    key: str = "web",
    **fields: Any,
) -> None:
    """Publish an alert as the sidecar does: retained, at QoS 1."""
    body = payload(seq, status, host=host, rule=rule, key=key, **fields)  # type: ignore[arg-type]  # firing or resolved
    topic = f"dockwarden/{host}/alert/{rule}/{key}"
    await asyncio.to_thread(single, topic, body, qos=1, retain=True, hostname=broker.host, port=broker.port)
