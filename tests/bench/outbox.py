"""How much of what a broker takes at QoS 1 the outbox delivers with the journal's promise kept: no row goes unacknowledged.

    python -m tests.bench.outbox [--rows 10000] [--rounds 5] [--in-flight 20] [--profile]

Beside it, against the same real Mosquitto, the same messages are published by paho alone with as many under way, from memory
and with nothing written down: the ratio is what counts, as the machine may be busy. The median of the rounds.
"""

import argparse
import asyncio
import cProfile
import tempfile
import time
from pathlib import Path
from statistics import median

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from connectors.mqtt.embedded_broker import EmbeddedBroker
from connectors.mqtt.publisher import MqttPublisher
from engine.journal.records import Batch, Bounds
from engine.journal.store import Journal
from engine.journal.writer import JournalWriter
from engine.ports.broker import Message, OutboxRow
from engine.ports.clock import SystemClock
from tests.lab.broker import free_port
from tests.lab.waiting import until

TOPICS = 500


def rows(count: int) -> list[OutboxRow]:
    """Alerts of 1 KiB on so many topics, not retained: the broker's own work stays the same throughout."""
    return [
        OutboxRow(topic=f"dockwarden/h/alert/r/{number % TOPICS}", payload=b"x" * 1024, kind="alert") for number in range(count)
    ]


async def raw(socket_path: Path, count: int, in_flight: int) -> float:
    """Messages a second that paho publishes from asyncio, with so many under way."""
    client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5, transport="unix")
    client.max_inflight_messages_set(0)
    messages = iter(rows(count))
    done = asyncio.Event()
    loop = asyncio.get_running_loop()
    acknowledged = 0

    def send() -> None:
        if (row := next(messages, None)) is not None:
            client.publish(row.topic, row.payload, 1)

    def on_publish(*_: object) -> None:
        nonlocal acknowledged
        acknowledged += 1
        send()
        if acknowledged == count:
            done.set()

    client.on_publish = on_publish
    client.connect(str(socket_path))
    connection = client.socket()
    assert connection is not None

    def register(*_: object) -> None:
        loop.add_writer(connection, client.loop_write)

    def unregister(*_: object) -> None:
        loop.remove_writer(connection)

    client.on_socket_register_write = register
    client.on_socket_unregister_write = unregister
    loop.add_reader(connection, client.loop_read)
    await until(client.is_connected, what="the connection")
    began = time.monotonic()
    for _ in range(in_flight):
        send()
    await done.wait()
    took = time.monotonic() - began
    loop.remove_reader(connection)
    loop.remove_writer(connection)
    client.disconnect()
    return count / took


async def ours(broker: EmbeddedBroker, folder: Path, count: int, in_flight: int) -> float:
    """Messages a second from a journal on disk until its outbox is empty."""
    path = folder / f"journal-{time.monotonic_ns()}.db"
    journal = Journal.open(path, bounds=Bounds(outbox_rows=10**6, outbox_bytes=10**9))
    writer = JournalWriter(journal, SystemClock())
    made = rows(count)
    for start in range(0, count, 200):
        journal.commit(Batch(outbox=made[start : start + 200], durable=False))
    publisher = MqttPublisher(
        broker.settings(in_flight=in_flight),
        host_topic="dockwarden/h",
        status=lambda: Message("dockwarden/h/status", b"online"),
        will=lambda: Message("dockwarden/h/status", b"offline"),
        clock=SystemClock(),
        connect=broker.connect,
    )
    began = time.monotonic()
    task = asyncio.create_task(publisher.run(writer), name="publisher")
    await writer.drained()
    took = time.monotonic() - began
    task.cancel()
    await asyncio.wait({task})
    await writer.close()
    return count / took


async def measure(count: int, rounds: int, in_flight: int, *, profile: bool) -> None:
    """Print both rates and their ratio."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        async with EmbeddedBroker(folder / "broker", clock=SystemClock(), port=free_port()) as broker:
            socket_path = broker.settings().unix_socket
            assert socket_path is not None
            ratios: list[float] = []
            profiler = cProfile.Profile()
            for _ in range(rounds):
                plain = await raw(socket_path, count, in_flight)
                if profile:
                    profiler.enable()
                outbox = await ours(broker, folder, count, in_flight)
                profiler.disable()
                ratios.append(outbox / plain)
                print(
                    f"raw QoS 1 {plain:.0f}/s, outbox {outbox:.0f}/s, ratio {ratios[-1]:.2f} ({in_flight} in flight)", flush=True
                )
            print(f"ratio {median(ratios):.2f} (median of {rounds})")
            if profile:
                profiler.print_stats("tottime")


def main() -> None:
    """See above."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--in-flight", type=int, default=20)
    parser.add_argument("--profile", action="store_true")
    given = parser.parse_args()
    asyncio.run(measure(given.rows, given.rounds, given.in_flight, profile=given.profile))


if __name__ == "__main__":
    main()
