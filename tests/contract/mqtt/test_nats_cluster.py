"""Three NATS servers: each killed in turn, the leader of what is retained too; one cut off. No acknowledged alert is lost."""

import asyncio
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from connectors.mqtt.client import connect
from connectors.mqtt.fake import MemoryOutbox
from connectors.mqtt.settings import BrokerSettings
from engine.ports.broker import Message, OutboxRow
from tests.contract.mqtt.brokers import RealNats
from tests.contract.mqtt.conftest import Publishing, publishing
from tests.lab.nats import PROGRAM, NatsCluster, Node
from tests.lab.subscriber import Subscriber
from tests.lab.waiting import until

ROOT = Path(__file__).parents[3]
RETAINED = "$MQTT_rmsgs"
"""The stream in which NATS keeps retained messages."""
ALERTS = 40
"""Topics; each gets a newer message in each round."""
FAILOVER: dict[str, Any] = {"ack_timeout_s": 3, "keepalive_s": 2, "connect_timeout_s": 3}


@pytest.fixture
def nats() -> Iterator[RealNats]:
    """A cluster of three."""
    made = RealNats(3)
    yield made
    made.close()


class Flow:
    """Alerts that change all the time: the newest number of each."""

    def __init__(self, outbox: MemoryOutbox) -> None:
        self.outbox = outbox
        self.newest: dict[str, bytes] = {}
        self.seq = 0
        self.task = asyncio.create_task(self._run(), name="flow of alerts")

    async def _run(self) -> None:
        while True:
            self.seq += 1
            row = OutboxRow(
                topic=f"dockwarden/h1/alert/r/{self.seq % ALERTS}",
                payload=b"%d" % self.seq,
                kind="alert",
                retain=True,
                seq=self.seq,
            )
            self.newest[row.topic] = row.payload
            await self.outbox.put(row)
            await asyncio.sleep(0.005)

    async def stop(self) -> None:
        """No more; and all of them delivered."""
        self.task.cancel()
        async with asyncio.timeout(60):
            await self.outbox.wait_empty()


async def progressed(at_work: Publishing, rows: int = 100) -> None:
    """So many more were acknowledged."""
    goal = at_work.publisher.state.published + rows
    await until(lambda: at_work.publisher.state.published >= goal, what="progress", within_s=60)


async def retained_at(node: Node) -> dict[str, bytes]:
    """What who comes late gets from this server."""
    with Subscriber(node.url, topics=("dockwarden/h1/alert/#",), old=True) as late:
        await until(lambda: len(late.all()) >= ALERTS, what="what is retained", within_s=30)
        return {received.topic: received.payload for received in late.all() if received.retained}


async def test_no_alert_is_lost_when_each_server_is_killed_in_turn(nats: RealNats) -> None:
    """Kill -9 of each while alerts change, the leader of what is retained first: then each server shows the newest of all."""
    async with publishing(nats, **FAILOVER) as at_work:
        flow = Flow(at_work.outbox)
        await progressed(at_work)
        leader = nats.cluster.leader(RETAINED)
        assert leader is not None
        for node in (leader, *(node for node in nats.cluster.nodes if node is not leader)):
            node.kill()
            await progressed(at_work)
            node.start()
            await asyncio.to_thread(nats.cluster.ready, [node])
        await progressed(at_work)
        await flow.stop()
    for node in nats.cluster.nodes:
        assert await retained_at(node) == flow.newest


async def test_no_alert_is_lost_when_the_leader_is_cut_off(nats: RealNats) -> None:
    """The leader answers neither clients nor the others for a while (SIGSTOP); the others go on, and it catches up."""
    async with publishing(nats, **FAILOVER) as at_work:
        flow = Flow(at_work.outbox)
        await progressed(at_work)
        leader = nats.cluster.leader(RETAINED)
        assert leader is not None
        leader.freeze()
        await progressed(at_work)
        await asyncio.sleep(5)  # longer than an election takes, with nothing to look at
        await progressed(at_work)
        leader.thaw()
        await asyncio.to_thread(nats.cluster.ready)
        await progressed(at_work)
        await flow.stop()
    for node in nats.cluster.nodes:
        await until(lambda node=node: _shows(node, flow.newest), what=f"{node.name} to have caught up", within_s=30)  # type: ignore[misc]  # mypy: default argument


async def _shows(node: Node, newest: dict[str, bytes]) -> bool:
    return await retained_at(node) == newest


def example_identities() -> str:
    """The `authorization` of the example configuration, with passwords that are known."""
    text = (ROOT / "examples/deploy/nats.conf").read_text()
    return re.sub(r'password: "[^"]*"', 'password: "secret"', text[text.index("authorization {") :])


async def test_the_identities_of_the_example_write_below_their_own_name_alone() -> None:
    """A host publishes and compares its own alerts, and cannot forge another's; a pager receives all and publishes nothing."""
    with NatsCluster(extra=example_identities()) as cluster:
        address = f"127.0.0.1:{cluster.nodes[0].mqtt}"
        with Subscriber(f"mqtt://pager@{address}", topics=("dockwarden/+/alert/#",), password="secret", old=True) as pager:
            settings = BrokerSettings.from_url(f"mqtt://web-7@{address}", password="secret", protocol="3.1.1")
            will = Message("dockwarden/web-7/status", b"offline")
            async with connect(settings, client_id="dockwarden-web-7", version="3.1.1", will=will) as link:
                await link.send(Message("dockwarden/web-8/alert/r/k", b"forged"))
                await link.send(Message("dockwarden/web-7/alert/r/k", b"own"))
                await pager.received("dockwarden/web-7/alert/r/k")
                read: list[bytes] = []
                await link.read("dockwarden/web-7/alert/#", lambda _, payload: read.append(payload))
                await until(lambda: read == [b"own"], what="what is retained")
            pager._client.publish("dockwarden/web-7/alert/r/k", b"forged", qos=1, retain=True).wait_for_publish(5)
        with Subscriber(f"mqtt://pager@{address}", topics=("dockwarden/#",), password="secret", old=True) as late:
            await late.received("dockwarden/web-7/alert/r/k")
            assert {received.payload for received in late.all("dockwarden/+/alert/#")} == {b"own"}


def test_the_example_configuration_is_valid(tmp_path: Path) -> None:
    """NATS takes every line of it."""
    for arguments in (
        ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=x", "-days", "2",
         "-keyout", "server.key", "-out", "server.crt"],
        ["x509", "-in", "server.crt", "-out", "ca.crt"],
    ):  # fmt: skip
        subprocess.run(["openssl", *arguments], cwd=tmp_path, check=True, capture_output=True)
    config = tmp_path / "nats.conf"
    config.write_text((ROOT / "examples/deploy/nats.conf").read_text().replace("/etc/nats", str(tmp_path)))
    subprocess.run([PROGRAM, "-t", "-c", config], check=True, capture_output=True)
