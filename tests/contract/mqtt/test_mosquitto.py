"""What only a real broker can show: refusals, TLS, old versions, limits, a broker that hangs, a client that is killed."""

import asyncio
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from connectors.mqtt.fake import MemoryOutbox
from connectors.mqtt.publisher import MqttPublisher
from connectors.mqtt.settings import BrokerSettings
from engine.ports.broker import Message, OutboxRow
from tests.clocks import SYSTEM
from tests.contract.mqtt.brokers import QUICK
from tests.contract.mqtt.relay import Manner, relay
from tests.lab.broker import ScratchBroker, free_port
from tests.lab.subscriber import Subscriber
from tests.lab.waiting import until

CHILD = Path(__file__).parent / "children" / "publisher.py"
ROOT = Path(__file__).parents[3]
STATUS = "dockwarden/h1/status"
SECRET = "s3cr3t-word"


def row(seq: int, payload: bytes = b"x", topic: str = "dockwarden/h1/action/a/b", **more: Any) -> OutboxRow:
    """A row that waits."""
    return OutboxRow(topic=topic, payload=payload, kind="action", seq=seq, **more)


@asynccontextmanager
async def publisher(url: str, *rows: OutboxRow, **settings: Any) -> AsyncIterator[tuple[MqttPublisher, MemoryOutbox]]:
    """A publisher at work."""
    outbox = MemoryOutbox()
    await outbox.put(*rows)
    made = MqttPublisher(
        BrokerSettings.from_url(url, **{**QUICK, **settings}),
        host_topic="dockwarden/h1",
        status=lambda: Message(STATUS, b"online"),
        clock=SYSTEM,
        will=lambda: Message(STATUS, b"offline"),
    )
    task = asyncio.create_task(made.run(outbox), name="publisher under test")
    try:
        yield made, outbox
    finally:
        for _ in range(2):  # asyncio.wait_for of CPython 3.11 can swallow one, when the connection fails at the same moment
            task.cancel()
            await asyncio.wait({task}, timeout=5)
        assert task.cancelled()


async def error_of(url: str, **settings: Any) -> str:
    """The first error that a publisher tells."""
    async with publisher(url, **settings) as (made, _):
        error = await until(lambda: made.state.last_error, what="an error")
        assert not made.state.connected
        return error


async def delivered(url: str, **settings: Any) -> str:
    """Publish a row; the version of MQTT that it went by."""
    async with publisher(url, row(1), **settings) as (made, outbox):
        try:
            async with asyncio.timeout(15):
                await outbox.wait_empty()
        except TimeoutError:
            pytest.fail(f"not delivered: {made.state.last_error}")
        return made.state.protocol


@pytest.fixture(scope="module")
def guarded() -> Iterator[ScratchBroker]:
    """A broker with a user, who may write below one prefix."""
    acl = "user warden\ntopic readwrite dockwarden/h1/#\n"
    with ScratchBroker(users={"warden": SECRET}, acl=acl) as broker:
        yield broker


@pytest.fixture(scope="module")
def tls() -> Iterator[ScratchBroker]:
    """A broker with TLS that asks for a client's certificate."""
    with ScratchBroker(tls=True, client_certificates=True) as broker:
        yield broker


async def test_the_right_password_gets_in(guarded: ScratchBroker, tmp_path: Path) -> None:
    """From the settings, from a file, or from the URL."""
    port = guarded.port
    file = tmp_path / "password"
    file.write_text(f"{SECRET}\n")
    assert await delivered(f"mqtt://warden@127.0.0.1:{port}", password=SECRET) == "5"
    assert await delivered(f"mqtt://warden@127.0.0.1:{port}", password_file=file) == "5"
    assert await delivered(f"mqtt://warden:{SECRET}@127.0.0.1:{port}") == "5"


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
async def test_a_wrong_password_is_named_and_not_shown(
    guarded: ScratchBroker, protocol: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The sentence says who was refused; the password stands nowhere."""
    error = await error_of(f"mqtt://warden@127.0.0.1:{guarded.port}", password="wrong-word", protocol=protocol)
    assert "not authorised: user 'warden' is not let in, or the password is wrong" in error
    out = capsys.readouterr()
    assert "wrong-word" not in error + out.out + out.err
    assert "a client without a user name" in await error_of(f"mqtt://127.0.0.1:{guarded.port}", protocol=protocol)


async def test_a_password_file_that_is_missing_is_named(guarded: ScratchBroker, tmp_path: Path) -> None:
    """And it is tried again: put there, it gets in."""
    file = tmp_path / "password"
    async with publisher(f"mqtt://warden@127.0.0.1:{guarded.port}", password_file=file) as (made, _):
        await until(lambda: str(file) in (made.state.last_error or ""), what="the error")
        file.write_text(SECRET)
        await until(lambda: made.state.connected, what="the connection")


async def test_nobody_there_and_nobody_known() -> None:
    """A port where nothing listens, a name that does not exist."""
    assert "nothing listens there" in await error_of(f"mqtt://127.0.0.1:{free_port()}")
    assert "'no-such-host.invalid' is not known" in await error_of("mqtt://no-such-host.invalid:1883")


async def test_tls_with_a_certificate_on_both_sides(tls: ScratchBroker) -> None:
    """The CA from the settings, our own certificate, the name checked."""
    ours = {"cert_file": tls.client_cert, "key_file": tls.client_key}
    assert await delivered(tls.url, ca_file=tls.ca_file, **ours) == "5"
    # 127.0.0.2 is this host too, but not in the certificate.
    elsewhere = f"mqtts://127.0.0.2:{tls.port}"
    assert "nothing listens there" in await error_of(elsewhere, ca_file=tls.ca_file, **ours)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "the broker's certificate is not accepted: "),
        ({"ca_file": "ca"}, "certificate"),
        ({"ca_file": "/nowhere/ca.crt"}, "TLS: cannot use /nowhere/ca.crt (ca_file)"),
        ({"ca_file": "ca", "cert_file": "/nowhere/client.crt"}, "TLS: cannot use /nowhere/client.crt (cert_file, key_file)"),
    ],
    ids=["unknown CA", "no client certificate", "no CA file", "no certificate file"],
)
async def test_what_is_wrong_with_tls_is_named(tls: ScratchBroker, given: dict[str, str], said: str) -> None:
    """Whose certificate, or which file."""
    settings = {name: tls.ca_file if value == "ca" else Path(value) for name, value in given.items()}
    assert said in await error_of(tls.url, **settings)


async def test_tls_to_a_plain_port_and_the_other_way_round(tls: ScratchBroker) -> None:
    """Both end with a hint at TLS, and soon."""
    assert "without TLS?" in await error_of(f"mqtt://127.0.0.1:{tls.port}")
    with ScratchBroker() as plain:
        assert "TLS" in await error_of(f"mqtts://127.0.0.1:{plain.port}", ca_file=tls.ca_file)


@pytest.mark.parametrize("manner", ["refuses version 5", "closes on version 5"])
async def test_an_old_broker_gets_3_1_1(manner: Manner) -> None:
    """Refused in words, or by closing the connection: the row arrives by the older version, version 5 having been tried first."""
    with ScratchBroker() as broker, Subscriber(broker.url) as subscriber:
        async with relay(broker.port, manner) as old:
            assert await delivered(f"mqtt://127.0.0.1:{old.port}") == "3.1.1"
            assert old.levels[0] == 5
            assert old.levels[-1] == 4
        await subscriber.received("dockwarden/h1/action/a/b")


async def test_version_5_alone_is_refused_when_it_is_all_we_may_speak() -> None:
    """The setting counts: no fallback."""
    with ScratchBroker() as broker:
        async with relay(broker.port, "refuses version 5") as old:
            assert "this version of MQTT is refused" in await error_of(f"mqtt://127.0.0.1:{old.port}", protocol="5")
            assert set(old.levels) == {5}


@pytest.mark.parametrize("manner", ["talks rubbish", "says nothing"])
async def test_what_is_no_broker_ends_in_an_error_in_bounded_time(manner: Manner) -> None:
    """Something else listens on the port."""
    async with relay(1, manner) as other:
        async with asyncio.timeout(5):
            assert await error_of(f"mqtt://127.0.0.1:{other.port}", connect_timeout_s=1)


async def test_kill_9_of_the_client_publishes_its_will() -> None:
    """Whoever listens, and whoever comes late, learns that the sidecar is gone."""
    with ScratchBroker() as broker, Subscriber(broker.url) as subscriber:
        child = await asyncio.create_subprocess_exec(
            sys.executable, CHILD, broker.url, cwd=ROOT, stdout=asyncio.subprocess.DEVNULL
        )
        try:
            await subscriber.received(STATUS, lambda received: received.data.get("state") == "online", within_s=20)
        finally:
            child.kill()
            await child.wait()
        await subscriber.received(STATUS, lambda received: received.data.get("state") == "offline")
        with Subscriber(broker.url) as late:
            assert (await late.received(STATUS)).data["state"] == "offline"


async def test_a_broker_that_hangs_is_left_and_nothing_is_lost() -> None:
    """It takes connections' bytes and answers nothing: the row is sent again when it goes on."""
    with ScratchBroker() as broker:
        async with publisher(broker.url, ack_timeout_s=0.5, connect_timeout_s=0.5) as (made, outbox):
            await until(lambda: made.state.connected, what="the connection")
            broker.freeze()
            await outbox.put(row(1))
            await until(lambda: "no acknowledgement" in (made.state.last_error or ""), what="the loss to be noticed")
            assert outbox.rows
            broker.thaw()
            async with asyncio.timeout(10):
                await outbox.wait_empty()


async def test_a_dead_peer_is_noticed_without_anything_to_send() -> None:
    """By keepalive, about twice its length."""
    with ScratchBroker() as broker:
        async with publisher(broker.url, keepalive_s=1, connect_timeout_s=0.5) as (made, _):
            await until(lambda: made.state.connected, what="the connection")
            broker.freeze()
            await until(lambda: not made.state.connected, what="the loss to be noticed")
            broker.thaw()


async def test_a_row_beyond_the_limit_that_the_broker_told_is_given_up() -> None:
    """Too large a packet would end the connection again and again: it is not even sent; what follows arrives."""
    with ScratchBroker(extra=("max_packet_size 2000",)) as broker:
        async with publisher(broker.url, row(1, b"x" * 5000), row(2)) as (made, outbox):
            async with asyncio.timeout(10):
                await outbox.wait_empty()
            assert list(outbox.refusals) == [1]
            assert (made.state.refused, made.state.connections) == (1, 1)


async def test_a_row_on_which_the_broker_closes_the_connection_stops_no_other() -> None:
    """A limit that the broker keeps to itself: after a few connections the row is set aside, the others arrive, it stays."""
    bad = row(5, b"x" * 5000, topic="dockwarden/h1/action/a/bad")
    others = [row(seq, topic=f"dockwarden/h1/action/a/{seq % 5}") for seq in range(6, 100)]
    with ScratchBroker(extra=("message_size_limit 1500",)) as broker:
        async with publisher(broker.url, bad, *others, denied_retry_s=600) as (made, outbox):
            await until(lambda: list(outbox.rows) == [5], what="the others to be delivered")
            assert made.state.denied_topics == {bad.topic: "the broker closes the connection on it"}
            assert made.state.connections <= 6
            # And it goes on from there, on a connection that holds.
            await outbox.put(row(100))
            await until(lambda: list(outbox.rows) == [5], what="a later one to be delivered")
            assert made.state.connected


async def test_a_broker_that_takes_one_message_at_a_time_gets_one() -> None:
    """Receive Maximum is kept to, also with the status beside the rows."""
    with ScratchBroker(extra=("max_inflight_messages 1",)) as broker:
        async with publisher(broker.url, *(row(seq, topic=f"t/{seq}") for seq in range(1, 101))) as (made, outbox):
            for _ in range(20):
                made.announce()
                await asyncio.sleep(0)
            async with asyncio.timeout(10):
                await outbox.wait_empty()
            assert made.state.connections == 1


async def test_version_3_1_1_alone_works_and_retains() -> None:
    """As much of the contract as the older version has."""
    with ScratchBroker() as broker:
        retained = row(1, b"alert", topic="dockwarden/h1/alert/r/k", retain=True, expiry_s=3600)
        async with publisher(broker.url, retained, protocol="3.1.1") as (made, outbox):
            async with asyncio.timeout(10):
                await outbox.wait_empty()
            assert made.state.protocol == "3.1.1"
        with Subscriber(broker.url) as late:
            assert (await late.received("dockwarden/h1/alert/r/k")).payload == b"alert"


async def test_cancelling_while_connecting_leaves_nothing_open() -> None:
    """To a port that accepts and never answers; the publisher ends at once, and the connection with it."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        silent.settimeout(5)
        async with publisher(f"mqtt://127.0.0.1:{silent.getsockname()[1]}", connect_timeout_s=30):
            accepted, _ = await asyncio.to_thread(silent.accept)
        with accepted:
            accepted.settimeout(5)
            while await asyncio.to_thread(accepted.recv, 4096):
                pass


async def test_a_connection_that_ends_as_soon_as_it_stands_is_noticed() -> None:
    """Accepted and closed in one breath, as when another session takes over: it connects again, with no time-out in between."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(4096)
        writer.write(b"\x20\x03\x00\x00\x00")  # CONNACK, success, no properties
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        async with publisher(f"mqtt://127.0.0.1:{server.sockets[0].getsockname()[1]}", protocol="5") as (made, _):
            await until(lambda: made.state.connections >= 20, what="twenty connections", within_s=8)
    finally:
        server.close()
