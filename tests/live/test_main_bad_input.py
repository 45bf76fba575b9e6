"""Whatever comes in, the sidecar goes on, says what it could not use, and loses no alert."""

import json
import sqlite3
from contextlib import suppress
from io import BytesIO
from pathlib import Path

import aiohttp
import pytest

from tests.lab import faults
from tests.lab.broker import ScratchBroker
from tests.lab.engine import BOX, ScratchEngine
from tests.lab.rules import rules_folder
from tests.lab.sidecar import Sidecar
from tests.lab.subscriber import Subscriber
from tests.lab.waiting import until
from tests.lab.watched import Watched, watched
from tests.live.conftest import Watch
from tests.live.test_main_broker import EACH

pytestmark = pytest.mark.live

NASTY = "\x1b[31m\u202e\ud7ff\u0000../../#+/{new.id} '\"; rm -rf / \U0001f433"


JSON = {"Content-Type": "application/json"}


async def create(engine: ScratchEngine, labels: dict[str, str], name: str) -> str:
    """A container with labels that no command line takes, over the API."""
    connector = aiohttp.UnixConnector(str(engine.socket))
    body = {"Image": BOX, "Cmd": ["true"], "Labels": labels, "HostConfig": {"NetworkMode": "none"}}
    data = BytesIO(json.dumps(body).encode())
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        session.post("http://docker/containers/create", params={"name": name}, data=data, headers=JSON) as answer,
    ):
        answer.raise_for_status()
        return str((await answer.json())["Id"])


async def test_hostile_labels_go_through(engine: ScratchEngine, watch: Watch) -> None:
    """Control characters, a megabyte and a template in labels: told, alerted, bounded; the next container is told as usual."""
    labels = {"nasty": NASTY, "large": "x" * 1_000_000, NASTY.replace("\x00", ""): "key", "deep": "[" * 10_000}
    with rules_folder(EACH) as rules:
        async with watch(engine, rules=rules) as seen:
            hostile = await create(engine, labels, "hostile")
            alert = await seen.alert("made", where=lambda received: received.data.get("key") == "hostile")
            assert alert["evidence"][0]["id"] == hostile
            assert len(json.dumps(alert)) < 300_000
            await engine.create("true", name="ordinary")
            await seen.alert("made", where=lambda received: received.data.get("key") == "ordinary")
            assert seen.sidecar.running
            assert "Traceback" not in seen.sidecar.output


async def test_an_event_of_many_megabytes_is_counted_and_the_stream_goes_on(engine: ScratchEngine, watch: Watch) -> None:
    """Five megabytes of labels make a line that is not taken: a loss is told, a list makes up for it, the stream goes on."""
    with rules_folder(EACH) as rules:
        async with watch(engine, rules=rules) as seen:
            await create(engine, {f"l{number}": "x" * 500_000 for number in range(10)}, "huge")
            await seen.alert("made", where=lambda received: received.data.get("key") == "huge")
            lossy = await until(
                lambda: [fact for fact in seen.facts("source", name="docker") if fact["lost"]], what="the loss to be told"
            )
            assert lossy[0]["lost"] == 1
            after = await engine.create("true", name="after")
            await seen.fact("container_event", action="create", id=after)


async def test_hostile_log_lines_are_no_trouble(engine: ScratchEngine, watch: Watch, tmp_path: Path) -> None:
    """Broken UTF-8, NUL, a line of two megabytes, nested junk and cut JSON; then a real line, which is understood."""
    log = tmp_path / "kern.log"
    log.write_bytes(b"")
    async with watch(engine, KERNEL_LOG=str(log)) as seen:
        with log.open("ab") as file:
            for junk in (
                b"\xff\xfe\x00\x01",
                b"x" * 2_000_000,
                b'{"a":' * 5_000,
                b'{"log": "cut',
                b"\x1b]0;title\x07",
                b"\r\r\r",
            ):
                file.write(junk + b"\n")
            file.write(b"Nov 20 16:51:52 h kernel: [ 88.2] INFO: task kworker/u8:1:77 blocked for more than 120 seconds.\n")
        fact = await seen.fact("kernel_event", {"class": "hung_task"})
        assert fact["pid"] == 77
        assert seen.sidecar.running
        assert "Traceback" not in seen.sidecar.output


async def refused(
    engine: ScratchEngine,
    broker: ScratchBroker,
    *,
    rules: Path | None = None,
    config: Path | None = None,
    environment: dict[str, str] | None = None,
) -> str:
    """Start a sidecar that must not start: what it says. It left no journal behind."""
    sidecar = Sidecar(engine, broker, rules=rules, config=config, environment=environment)
    try:
        sidecar.start()
        await until(lambda: not sidecar.running, what="its refusal")
        assert sidecar.exit_code == 2, sidecar.output
        assert not (sidecar.state / "journal.db").exists()
        assert "Traceback" not in sidecar.output
        return sidecar.output
    finally:
        await sidecar.close()


async def test_unusable_settings_are_all_named_and_nothing_starts(
    engine: ScratchEngine, broker: ScratchBroker, tmp_path: Path
) -> None:
    """Every fault of file and environment in one go, with the nearest right name; exit code 2."""
    config = tmp_path / "settings.yaml"
    config.write_text("mod: act\nprobes: {list_s: soon, disk: 3}\npolicy: {actions: {remove_containers: {}}}\n")
    said = await refused(engine, broker, config=config, environment={"DOCKWARDEN_MODE": "attack", "DOCKWARDEN_RULEZ": "x"})
    for fault in ("unknown setting `mod`", "list_s", "disk", "DOCKWARDEN_MODE", "DOCKWARDEN_RULEZ"):
        assert fault in said, said
    config.write_bytes(b"\xff\x00: [")
    assert "not valid YAML" in await refused(engine, broker, config=config)
    assert "cannot be read" in await refused(engine, broker, config=tmp_path / "missing.yaml")


async def test_unusable_rules_are_all_named_and_nothing_starts(
    engine: ScratchEngine, broker: ScratchBroker, tmp_path: Path
) -> None:
    """Two faults in one file are both named, with line and column; an empty folder and a missing one are said too."""
    text = "rules:\n  - rule: bad\n    title: Bad\n    severity: loud\n    when: {a: {fact: contaner}}\n    then: [{alert: x}]\n"
    with rules_folder(text) as rules:
        said = await refused(engine, broker, rules=rules)
        assert "test.yaml:4:15" in said
        assert "test.yaml:5:" in said
        assert "container" in said
    with rules_folder() as rules:
        assert "no rules" in await refused(engine, broker, rules=rules)
    await refused(engine, broker, rules=tmp_path / "missing")


async def test_no_engine_is_said_alerted_and_waited_for(broker: ScratchBroker, subscriber: Subscriber, host: str) -> None:
    """Without a Docker daemon it starts, says what to do, raises an alert; when Docker comes it works and the alert resolves."""
    engine = ScratchEngine()
    try:
        async with Sidecar(engine, broker, host=host) as sidecar:
            await sidecar.ready(subscriber)
            seen = Watched(sidecar, subscriber)
            alert = await seen.alert("engine-unreachable", within_s=20)
            assert alert["severity"] == "critical"
            assert "systemctl status docker" in alert["summary"]
            assert str(engine.socket) in alert["summary"]
            assert str(engine.socket) in sidecar.output
            await engine.start()
            await engine.load_images()
            await seen.alert("engine-unreachable", "resolved", within_s=30)
            async with faults.dead_containers(engine) as dead:
                ((container, file),) = dead.items()
                await seen.alert("dead-container")
                await file.mend()
                await seen.outcome("remove_container", target=container, ok=True, within_s=30)
    finally:
        await engine.close()


def fill_up(path: Path) -> None:
    """Write to this file until the disk is full."""
    with suppress(OSError), path.open("wb", buffering=0) as file:
        while file.write(b"x" * 4096):
            pass


async def test_a_full_disk_under_the_journal(
    engine: ScratchEngine, broker: ScratchBroker, subscriber: Subscriber, host: str
) -> None:
    """Alerts go on from memory, acting stops and both are said; with room again it acts, and the journal has it all."""
    async with faults.small_disk(16) as disk:
        state = disk.path / "state"
        async with watched(engine, broker, subscriber, host=host, STATE=str(state)) as seen:
            fill_up(disk.path / "full")
            async with faults.dead_containers(engine) as dead:
                ((container, file),) = dead.items()
                alert = await seen.alert("dead-container", within_s=30)
                assert alert["key"] == container
                await file.mend()
                await seen.alert("journal-unwritable")
                assert "journal cannot be written" in seen.sidecar.output
                await until(lambda: any("acting is stopped" in one for one in seen.status()["troubles"]), what="the status")
                assert "acting is stopped" in (await seen.sidecar.ask("status", "--state", str(state)))[1]
                # Observing goes on.
                other = await engine.create("true", name="seen")
                await seen.fact("container", id=other)
                assert await engine.has(container)
                (disk.path / "full").unlink()
                await seen.outcome("remove_container", target=container, ok=True, within_s=30)
                await seen.alert("journal-unwritable", "resolved")
        kept = sqlite3.connect(f"file:{state / 'journal.db'}?mode=ro", uri=True)
        try:
            rows = kept.execute("SELECT verdict FROM audit WHERE rule = 'dead-container' AND kind = 'alert'").fetchall()
        finally:
            kept.close()
        assert ("firing",) in rows
        assert ("resolved",) in rows


async def test_a_message_of_somebody_else_in_our_topics_is_no_command(
    engine: ScratchEngine, broker: ScratchBroker, watch: Watch, host: str
) -> None:
    """Commands are off by default: what stands below command/ changes nothing."""
    from paho.mqtt.publish import single  # noqa: PLC0415  used here alone

    async with watch(engine) as seen:
        single(f"dockwarden/{host}/command/freeze", "{}", qos=1, hostname="127.0.0.1", port=broker.port)
        container = await engine.create("true")
        await seen.fact("container", id=container)
        assert not (seen.sidecar.state / "freeze").exists()
