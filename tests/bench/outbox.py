"""How much of what a broker takes at QoS 1 the outbox delivers with the journal's promise kept: no row goes unacknowledged.

    python -m tests.bench.outbox [--rows 10000] [--rounds 5] [--in-flight 20] [--retained 0] [--profile]

Beside it, against the same real Mosquitto, the same messages are published with as many under way, from memory and with nothing
written down: by `aiomqtt`, as a program usually does, and by bare paho callbacks, the most that Python gets out of a socket. The
ratio is what counts, as the machine may be busy. The median of the rounds.
"""

import argparse
import asyncio
import cProfile
import itertools
import logging
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import aiomqtt
from paho.mqtt import publish
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from connectors.mqtt.embedded_broker import EmbeddedBroker
from connectors.mqtt.publisher import MqttPublisher
from engine.journal.records import Batch, Bounds
from engine.journal.store import Journal
from engine.journal.writer import JournalWriter
from engine.ports.broker import Message, OutboxRow
from engine.ports.clock import SystemClock
from tests.clocks import SYSTEM
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


async def plain(socket_path: Path, count: int, in_flight: int) -> float:
    """Messages a second by aiomqtt's `publish`, from so many tasks."""
    messages = iter(rows(count))
    quiet = logging.getLogger("bench")  # it warns of each message beyond ten under way
    quiet.setLevel(logging.ERROR)
    async with aiomqtt.Client(
        str(socket_path), transport="unix", protocol=aiomqtt.ProtocolVersion.V5, max_inflight_messages=0, logger=quiet
    ) as client:
        began = time.monotonic()

        async def publish() -> None:
            for row in messages:
                await client.publish(row.topic, row.payload, qos=1)

        async with asyncio.TaskGroup() as group:
            for _ in range(in_flight):
                group.create_task(publish())
        return count / (time.monotonic() - began)


async def ours(broker: EmbeddedBroker, folder: Path, count: int, in_flight: int) -> float:
    """Messages a second from a journal on disk until its outbox is empty."""
    path = folder / f"journal-{time.monotonic_ns()}.db"
    journal = Journal.open(path, bounds=Bounds(outbox_rows=10**6, outbox_bytes=10**9), now=SYSTEM.wall())
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


async def measure(count: int, rounds: int, in_flight: int, retained: int, *, profile: bool) -> None:
    """Print the rates and their ratios."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        async with EmbeddedBroker(folder / "broker", clock=SystemClock(), port=free_port()) as broker:
            socket_path = broker.settings().unix_socket
            assert socket_path is not None
            published = itertools.count()  # so that it is written all the time
            watch = asyncio.create_task(broker.run(published=lambda: next(published)), name="embedded broker")
            kept: Any = [(f"dockwarden/h/alert/r/kept-{number}", b"x" * 2048, 1, True) for number in range(retained)]
            if kept:
                await asyncio.to_thread(publish.multiple, kept, hostname=str(socket_path), transport="unix")  # type: ignore[arg-type]  # paho's hint
            ratios: list[tuple[float, float]] = []
            profiler = cProfile.Profile()
            for _ in range(rounds):
                bare = await raw(socket_path, count, in_flight)
                usual = await plain(socket_path, count, in_flight)
                if profile:
                    profiler.enable()
                outbox = await ours(broker, folder, count, in_flight)
                profiler.disable()
                ratios.append((outbox / usual, outbox / bare))
                print(f"aiomqtt {usual:.0f}/s, bare paho {bare:.0f}/s, outbox {outbox:.0f}/s", flush=True)
            usual, bare = (median(column) for column in zip(*ratios, strict=True))
            print(f"ratio {usual:.2f} to aiomqtt, {bare:.2f} to bare paho ({in_flight} in flight, median of {rounds} rounds)")
            watch.cancel()
            await asyncio.wait({watch})
            if profile:
                profiler.print_stats("tottime")


def main() -> None:
    """See above."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--in-flight", type=int, default=20)
    parser.add_argument("--retained", type=int, default=0, help="so many alerts are retained at the broker meanwhile")
    parser.add_argument("--profile", action="store_true")
    given = parser.parse_args()
    asyncio.run(measure(given.rows, given.rounds, given.in_flight, given.retained, profile=given.profile))


if __name__ == "__main__":
    main()
