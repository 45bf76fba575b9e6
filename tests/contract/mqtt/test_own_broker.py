"""The broker that is run when none is named: a real Mosquitto."""

import asyncio
import os
import pwd
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from paho.mqtt import publish

from connectors.mqtt.embedded_broker import OwnBroker
from engine.errors import BrokerError
from tests.lab.broker import free_port
from tests.lab.subscriber import Subscriber
from tests.lab.waiting import until

OWNER = Path(__file__).parent / "children" / "owner.py"
ROOT = Path(__file__).parents[3]


@asynccontextmanager
async def running(folder: Path, port: int) -> AsyncIterator[OwnBroker]:
    """A broker of one's own, watched over."""
    async with OwnBroker(folder, port=port) as broker:
        task = asyncio.create_task(broker.run(), name="own broker")
        yield broker
        task.cancel()
        await asyncio.wait({task}, timeout=10)


def gone(pid: int) -> bool:
    """Whether a process has ended."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return state == "Z"


def say(broker: OwnBroker, topic: str, text: str, *, retain: bool = False) -> None:
    """Publish as another client would."""
    publish.single(topic, text, qos=1, retain=retain, hostname="127.0.0.1", port=broker.port)


async def test_it_listens_on_loopback_and_is_gone_afterwards(tmp_path: Path) -> None:
    """On the preferred port, for this host alone; nothing is left behind when it is stopped."""
    port = free_port()
    async with running(tmp_path / "broker", port) as broker:
        assert broker.url == f"mqtt://127.0.0.1:{port}"
        with Subscriber(broker.url) as subscriber:
            await asyncio.to_thread(say, broker, "a", "b")
            await subscriber.heard("a")
        pid = broker.pid
        assert pid is not None
        listening = Path("/proc/net/tcp").read_text()
        assert f"0100007F:{port:04X} 00000000:0000 0A" in listening
        assert f"00000000:{port:04X} 00000000:0000 0A" not in listening
    assert gone(pid)
    assert broker.pid is None


async def test_it_is_not_root(tmp_path: Path) -> None:
    """Started by root it becomes the unprivileged user of its package, also below a folder that only we may enter."""
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    async with running(state / "broker", free_port()) as broker:
        status = Path(f"/proc/{broker.pid}/status").read_text()
        uids = next(line for line in status.splitlines() if line.startswith("Uid:")).split()[1:]
        wanted = pwd.getpwnam("mosquitto").pw_uid if os.geteuid() == 0 else os.geteuid()
        assert set(uids) == {str(wanted)}
        await asyncio.to_thread(say, broker, "kept", "b", retain=True)
        await until((state / "broker" / "mosquitto.db").exists, what="the message to be written")


async def test_it_is_started_again_when_it_dies_and_keeps_what_was_retained(tmp_path: Path) -> None:
    """Killed, it comes back on the same port with its messages."""
    async with running(tmp_path / "broker", free_port()) as broker:
        await asyncio.to_thread(say, broker, "kept", "message", retain=True)
        await until((tmp_path / "broker" / "mosquitto.db").exists, what="the message to be written")
        pid, port = broker.pid, broker.port
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        await until(lambda: broker.restarts == 1, what="the restart")
        assert broker.pid != pid
        assert broker.port == port
        with Subscriber(broker.url) as subscriber:
            assert (await subscriber.heard("kept")).payload == b"message"


async def test_kill_9_of_the_sidecar_leaves_no_broker_behind(tmp_path: Path) -> None:
    """Whatever ends its parent, the kernel ends the broker."""
    owner = await asyncio.create_subprocess_exec(
        sys.executable, OWNER, tmp_path / "broker", str(free_port()), stdout=asyncio.subprocess.PIPE, cwd=ROOT
    )
    try:
        assert owner.stdout is not None
        line = await asyncio.wait_for(owner.stdout.readline(), 15)
        # The log of the broker's start may come first.
        while b"pid=" in line:
            line = await asyncio.wait_for(owner.stdout.readline(), 15)
        pid = int(line.split()[0])
        assert not gone(pid)
    finally:
        owner.kill()
        await owner.wait()
    await until(lambda: gone(pid), what="the broker to end")


async def test_another_port_is_taken_when_the_usual_one_is_not_free_and_kept(tmp_path: Path) -> None:
    """Beside somebody else's broker; the next start takes the same port, so that subscribers find it."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        async with running(tmp_path / "broker", taken) as broker:
            port = broker.port
            assert port != taken
    async with running(tmp_path / "broker", taken) as broker:
        assert broker.port == port


async def test_without_mosquitto_it_says_what_to_do(tmp_path: Path) -> None:
    """One sentence, with the name of the setting and of the package."""
    with pytest.raises(BrokerError, match=r"DOCKWARDEN_MQTT_URL.*apt-get install mosquitto"):
        await OwnBroker(tmp_path, program="mosquitto-that-is-not-there").start()


async def test_a_broker_that_ends_at_once_is_quoted(tmp_path: Path) -> None:
    """The error holds what it wrote."""
    # It is run as an unprivileged user, who cannot enter pytest's folders.
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        program = Path(folder) / "broken"
        program.write_text("#!/bin/sh\necho 'Error: out of cheese' >&2\nexit 3\n")
        program.chmod(0o755)
        broker = OwnBroker(tmp_path / "broker", program=str(program), port=free_port())
        with pytest.raises(BrokerError, match=r"ended at once with 3: Error: out of cheese"):
            await broker.start()
    assert broker.pid is None


async def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    """The sentence says which one."""
    (tmp_path / "file").write_text("")
    with pytest.raises(BrokerError, match="file/broker"):
        await OwnBroker(tmp_path / "file" / "broker").start()
