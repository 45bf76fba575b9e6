"""The broker that is run when none is named: a real Mosquitto."""

import asyncio
import contextlib
import itertools
import os
import pwd
import re
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt import MQTTException, publish

from connectors.mqtt.embedded_broker import EmbeddedBroker
from engine.errors import BrokerError
from engine.ports.broker import Message
from tests.clocks import SYSTEM
from tests.lab.broker import free_port
from tests.lab.subscriber import Subscriber
from tests.lab.waiting import until

UNIT = "examples/deploy/dockwarden.service"
OWNER = Path(__file__).parent / "children" / "owner.py"
ROOT = Path(__file__).parents[3]


@asynccontextmanager
async def running(folder: Path, port: int) -> AsyncIterator[EmbeddedBroker]:
    """A broker of one's own, watched over."""
    async with EmbeddedBroker(folder, clock=SYSTEM, port=port) as broker:
        said = itertools.count()
        task = asyncio.create_task(broker.run(published=lambda: next(said)), name="embedded broker")
        yield broker
        task.cancel()
        await asyncio.wait({task}, timeout=10)


def subscriber_of(broker: EmbeddedBroker) -> Subscriber:
    """A user of this host who has the password."""
    return Subscriber(f"mqtt://operator@127.0.0.1:{broker.port}", password=broker.password_file.read_text().strip())


def gone(pid: int) -> bool:
    """Whether a process has ended."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return state == "Z"


def say(broker: EmbeddedBroker, topic: str, text: str, *, retain: bool = False) -> None:
    """Publish as another client would."""
    publish.single(topic, text, qos=1, retain=retain, hostname=str(broker.settings().unix_socket), transport="unix")  # type: ignore[arg-type]  # paho's own hint is too narrow


async def test_it_listens_on_loopback_and_is_gone_afterwards(tmp_path: Path) -> None:
    """On the preferred port, for this host alone; nothing is left behind when it is stopped."""
    port = free_port()
    async with running(tmp_path / "broker", port) as broker:
        assert broker.url == f"mqtt://127.0.0.1:{port}"
        with subscriber_of(broker) as subscriber:
            await asyncio.to_thread(say, broker, "a", "b")
            await subscriber.received("a")
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
        await until((state / "broker" / "data" / "mosquitto.db").exists, what="the message to be written")


async def test_it_is_started_again_when_it_dies_and_keeps_what_was_retained(tmp_path: Path) -> None:
    """Killed, it comes back on the same port with its messages."""
    async with running(tmp_path / "broker", free_port()) as broker:
        await asyncio.to_thread(say, broker, "kept", "message", retain=True)
        await until((tmp_path / "broker" / "data" / "mosquitto.db").exists, what="the message to be written")
        pid, port = broker.pid, broker.port
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        await until(lambda: broker.restarts == 1, what="the restart")
        assert broker.pid != pid
        assert broker.port == port
        with subscriber_of(broker) as subscriber:
            assert (await subscriber.received("kept")).payload == b"message"


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
        await EmbeddedBroker(tmp_path, clock=SYSTEM, program="mosquitto-that-is-not-there").start()


async def test_a_broker_that_ends_at_once_is_quoted(tmp_path: Path) -> None:
    """The error holds what it wrote."""
    # It is run as an unprivileged user, who cannot enter pytest's folders.
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        program = Path(folder) / "broken"
        program.write_text("#!/bin/sh\necho 'Error: out of cheese' >&2\nexit 3\n")
        program.chmod(0o755)
        broker = EmbeddedBroker(tmp_path / "broker", clock=SYSTEM, program=str(program), port=free_port())
        with pytest.raises(BrokerError, match=r"ended at once with 3: Error: out of cheese"):
            await broker.start()
    assert broker.pid is None


async def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    """The sentence says which one."""
    (tmp_path / "file").write_text("")
    with pytest.raises(BrokerError, match="file/broker"):
        await EmbeddedBroker(tmp_path / "file" / "broker", clock=SYSTEM).start()


CAPABILITIES = re.findall(
    r"CAP_(\w+)", " ".join(re.findall(r"^CapabilityBoundingSet=(.*)", (ROOT / UNIT).read_text(), re.MULTILINE))
)
"""All that the systemd unit grants."""
BOUNDED = ["setpriv", f"--bounding-set=-all,+{',+'.join(CAPABILITIES).lower()}", "--inh-caps=-all", "--no-new-privs"]
DOCKWARDEN = Path(sys.executable).with_name("dockwarden")


async def test_it_starts_twice_with_the_capabilities_of_the_systemd_unit(tmp_path: Path) -> None:
    """Root without the right to pass over file permissions: the second start finds what the first one left, and it is usable."""
    assert "DAC_OVERRIDE" not in CAPABILITIES
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    for _ in range(2):
        owner = await asyncio.create_subprocess_exec(
            *BOUNDED, sys.executable, OWNER, state / "broker", str(free_port()), stdout=asyncio.subprocess.PIPE, cwd=ROOT
        )
        assert owner.stdout is not None
        shown = ""
        async with asyncio.timeout(20):
            while not shown.startswith("published"):
                line = (await owner.stdout.readline()).decode()
                assert line, shown
                shown = line
        owner.terminate()
        await owner.wait()


async def test_the_sidecar_starts_twice_with_them_and_publishes(tmp_path: Path) -> None:
    """The whole program, its own broker, no Docker: an operator with the password sees it online after each start."""
    for _ in range(2):
        await run_bounded(tmp_path)


async def run_bounded(folder: Path) -> None:
    """Start the sidecar, see its status as an operator of this host would, stop it."""
    state, broker = folder / "state", folder / "state" / "broker"
    given = {
        "PATH": os.environ["PATH"],
        "DOCKWARDEN_STATE": str(state),
        "DOCKWARDEN_HOST": "bounded",
        "DOCKER_HOST": "unix:///nowhere",
    }
    logs = {f"DOCKWARDEN_{name}_LOG": "off" for name in ("KERNEL", "DOCKERD", "KUBELET")}
    sidecar = await asyncio.create_subprocess_exec(
        *BOUNDED, DOCKWARDEN, "run", env=given | logs, cwd=folder,
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip

    def operator() -> Subscriber | None:
        assert sidecar.returncode is None
        with contextlib.suppress(OSError, TimeoutError):
            address = f"mqtt://operator@127.0.0.1:{(broker / 'port').read_text().strip()}"
            return Subscriber(address, password=(broker / "password").read_text().strip()).__enter__()
        return None

    try:
        with await until(operator, what="the operator to get in", within_s=20) as subscriber:
            await subscriber.received("dockwarden/bounded/status", lambda got: got.data["state"] == "online", within_s=30)
    finally:
        sidecar.terminate()
        await asyncio.wait_for(sidecar.wait(), 15)


async def test_what_mosquitto_may_write_holds_nothing_of_ours(tmp_path: Path) -> None:
    """Configuration, passwords and log belong to us; its user has two subfolders, and the socket in one of them is ours too."""
    async with running(tmp_path / "broker", free_port()):
        folder = tmp_path / "broker"
        theirs = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.lstat().st_uid != os.geteuid()}
        assert theirs == ({"data"} if os.geteuid() == 0 else set())
        assert (folder / "run" / "mqtt.sock").stat().st_mode & 0o777 == 0o600
        for name in ("password", "client/mosquitto_sub", "mosquitto.log", "port"):
            assert (folder / name).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "name", ["mosquitto.log", "port", "port.new", "mosquitto.conf", "passwords", "password", "client/mosquitto_sub"]
)
async def test_links_that_an_earlier_owner_left_are_not_followed(tmp_path: Path, name: str) -> None:
    """The folder was Mosquitto's up to 0.1: a link in it to a file of ours leaves that file as it is."""
    folder, victim = tmp_path / "broker", tmp_path / "victim"
    (folder / "client").mkdir(parents=True)
    victim.write_text("precious" * 200_000)
    (folder / name).symlink_to(victim)
    if os.geteuid() == 0:
        os.chown(folder, pwd.getpwnam("mosquitto").pw_uid, -1)
    before = victim.stat()
    async with running(folder, free_port()):
        after = victim.stat()
    assert (after.st_uid, after.st_mode, after.st_size) == (before.st_uid, before.st_mode, before.st_size)
    assert victim.read_text() == "precious" * 200_000


async def test_a_folder_that_is_a_link_is_refused(tmp_path: Path) -> None:
    """Data and socket would be somewhere else."""
    (tmp_path / "elsewhere").mkdir()
    for name in ("data", "run"):
        folder = tmp_path / f"broker-{name}"
        folder.mkdir()
        (folder / name).symlink_to(tmp_path / "elsewhere")
        with pytest.raises(BrokerError, match="cannot prepare"):
            await EmbeddedBroker(folder, clock=SYSTEM).start()


async def test_local_users_need_the_password_and_may_only_read(tmp_path: Path) -> None:
    """Without it nobody gets in; with it an alert can be read and not forged."""
    async with running(tmp_path / "broker", free_port()) as broker:
        await asyncio.to_thread(say, broker, "dockwarden/h/alert/a/b", "real", retain=True)
        auth: Any = {"username": "operator", "password": broker.password_file.read_text().strip()}
        arguments: Any = {"hostname": "127.0.0.1", "port": broker.port, "qos": 1, "retain": True}
        with pytest.raises(MQTTException):
            await asyncio.to_thread(publish.single, "dockwarden/h/alert/a/b", "forged", **arguments)
        await asyncio.to_thread(publish.single, "dockwarden/h/alert/a/b", "forged", auth=auth, **arguments)
        with subscriber_of(broker) as subscriber:
            assert (await subscriber.received("dockwarden/h/alert/a/b")).payload == b"real"
        options = (broker.client_folder / "mosquitto_sub").read_text()
        assert f"-p {broker.port}\n-u operator\n-P {auth['password']}\n" in options


async def test_nothing_is_said_to_whoever_takes_the_place_of_a_dead_broker(tmp_path: Path) -> None:
    """Another process listens on the socket: it gets no byte, and the error says who it is."""
    async with EmbeddedBroker(tmp_path / "broker", clock=SYSTEM, port=free_port()) as broker:
        settings = broker.settings(connect_timeout_s=2)
        assert broker.pid is not None
        os.kill(broker.pid, signal.SIGKILL)
        await until(lambda: broker.pid is None, what="its end")
        path = tmp_path / "broker" / "run" / "mqtt.sock"
        path.unlink()
        os.chdir(path.parent)  # a socket's path is short
        try:
            with socket.socket(socket.AF_UNIX) as impostor:
                impostor.bind(path.name)
                impostor.listen()
                impostor.setblocking(False)
                with pytest.raises(BrokerError, match="not our broker"):
                    async with broker.connect(settings, client_id="c", version="5", will=Message("w", b"")):
                        pytest.fail("connected")
                connection, _ = impostor.accept()
                with connection:
                    assert connection.recv(100) == b""
        finally:
            os.chdir(ROOT)


async def test_messages_are_written_within_seconds_at_any_number_of_retained_ones(tmp_path: Path) -> None:
    """Three thousand retained alerts, killed two seconds after the last: all of them are there again."""
    async with running(tmp_path / "broker", free_port()) as broker:
        messages: Any = [(f"dockwarden/h/alert/r/{number}", b"x" * 2000, 1, True) for number in range(3000)]
        path: Any = {"hostname": str(broker.settings().unix_socket), "transport": "unix"}
        await asyncio.to_thread(publish.multiple, messages, **path)
        saved = tmp_path / "broker" / "data" / "mosquitto.db"
        await until(lambda: saved.exists() and saved.stat().st_size > 3000 * 2000, what="the file to hold them")
        assert broker.pid is not None
        os.kill(broker.pid, signal.SIGKILL)
        await until(lambda: broker.restarts == 1, what="the restart")
        with Subscriber(
            f"mqtt://operator@127.0.0.1:{broker.port}",
            topics=("dockwarden/h/alert/r/2999",),
            password=broker.password_file.read_text().strip(),
        ) as late:
            await late.received("dockwarden/h/alert/r/2999")
