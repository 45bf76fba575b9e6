"""What so many sessions cost a broker: time to connect them all, memory, a retained status of each, and one alert through it.

    python -m tests.bench.sessions [--broker nats|nats-cluster|mosquitto] [--sessions 2000] [--qos 0]

One process plays all the hosts by asyncio sockets, with MQTT 3.1.1 packets written by hand: paho needs a thread for each.
"""

import argparse
import asyncio
import contextlib
import random
import struct
import time
from pathlib import Path

from tests.lab.broker import ScratchBroker
from tests.lab.nats import NatsCluster

AT_ONCE = 100
"""Connections that are being made at a time."""


def _text(text: str) -> bytes:
    data = text.encode()
    return struct.pack("!H", len(data)) + data


def _packet(kind: int, body: bytes) -> bytes:
    """A control packet with its remaining length (MQTT 3.1.1, 2.2.3)."""
    length, encoded = len(body), b""
    while True:
        length, byte = divmod(length, 128)
        encoded += bytes([byte | 0x80 if length else byte])
        if not length:
            return bytes([kind]) + encoded + body


async def _session(number: int, address: tuple[str, int], qos: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A host as the sidecar connects it: clean session, a will, its status retained, a subscription to commands."""
    name = f"host-{number}"
    reader, writer = await asyncio.open_connection(*address)
    status, offline = f"dockwarden/{name}/status", "x" * 200
    writer.write(
        _packet(
            0x10,
            _text("MQTT") + b"\x04\x2e" + struct.pack("!H", 600) + _text(f"dockwarden-{name}") + _text(status) + _text(offline),
        )
    )
    assert (await reader.readexactly(4))[3] == 0
    writer.write(_packet(0x82, b"\0\1" + _text(f"dockwarden/{name}/command/+") + bytes([qos])))
    await reader.readexactly(5)
    writer.write(_packet(0x33, _text(status) + b"\0\2" + b"x" * 500))
    await reader.readexactly(4)
    return reader, writer


def _memory(pid: int) -> float:
    """Resident MiB of a process."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0


async def measure(addresses: list[tuple[str, int]], pids: list[int], sessions: int, qos: int) -> None:
    """Connect them all, spread over the servers, then print what it took."""
    before = [_memory(pid) for pid in pids]
    gate = asyncio.Semaphore(AT_ONCE)
    slowest, again = 0.0, 0

    async def one(number: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        nonlocal slowest, again
        async with gate:
            began = time.monotonic()
            while True:
                try:
                    made = await _session(number, addresses[number % len(addresses)], qos)
                except (asyncio.IncompleteReadError, OSError):  # too busy: as the sidecar, after a pause
                    again += 1
                    await asyncio.sleep(random.random() * 2)
                    continue
                slowest = max(slowest, time.monotonic() - began)
                return made

    began = time.monotonic()
    made = await asyncio.gather(*(one(number) for number in range(sessions)))
    took = time.monotonic() - began
    print(f"{sessions} sessions in {took:.1f} s ({sessions / took:.0f}/s), slowest {slowest:.2f} s, {again} tried again")
    for pid, was in zip(pids, before, strict=True):
        print(f"  server {pid}: {was:.0f} -> {_memory(pid):.0f} MiB ({(_memory(pid) - was) / sessions * 1024:.0f} KiB a session)")
    reader, writer = made[0]
    began = time.monotonic()
    for number in range(500):
        writer.write(
            _packet(0x33, _text(f"dockwarden/host-0/alert/r/{number % 50}") + struct.pack("!H", number + 10) + b"x" * 1000)
        )
        await reader.readexactly(4)
    print(f"  one by one, retained, QoS 1, among them: {500 / (time.monotonic() - began):.0f}/s")
    for _, other in made:
        other.close()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(5):
            await asyncio.gather(*(other.wait_closed() for _, other in made), return_exceptions=True)


def main() -> None:
    """See above."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--broker", choices=["nats", "nats-cluster", "mosquitto"], default="nats-cluster")
    parser.add_argument("--sessions", type=int, default=2000)
    parser.add_argument("--qos", type=int, default=0, help="of the subscription to commands")
    given = parser.parse_args()
    if given.broker == "mosquitto":
        with ScratchBroker(extra=("set_tcp_nodelay true",)) as broker:
            asyncio.run(measure([(broker.host, broker.port)], [broker.pid], given.sessions, given.qos))
    else:
        with NatsCluster(3 if given.broker == "nats-cluster" else 1) as cluster:
            pids = [node.process.pid for node in cluster.nodes if node.process is not None]
            asyncio.run(measure([("127.0.0.1", node.mqtt) for node in cluster.nodes], pids, given.sessions, given.qos))


if __name__ == "__main__":
    main()
