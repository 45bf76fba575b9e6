"""The verbs of the command line on what really happened: status, explain, record and replay."""

import asyncio
import json
import signal
from pathlib import Path

import pytest

from tests.lab import faults
from tests.lab.commands import attempt, launch
from tests.lab.engine import TAGS, ScratchEngine
from tests.lab.rules import SHIPPED
from tests.lab.sidecar import PROGRAM
from tests.lab.waiting import until
from tests.live.conftest import Watch

pytestmark = pytest.mark.live


async def test_status_shows_what_it_sees_and_does(engine: ScratchEngine, watch: Watch) -> None:
    """Mode, rules, broker, sources, the firing alert and the job that waits, for people and for tools."""
    async with watch(engine) as seen, faults.dead_containers(engine) as dead:
        (container,) = dead
        await seen.outcome("remove_container", target=container, ok=False)
        code, shown, _ = await seen.sidecar.ask("status")
        assert code == 0
        for part in ("mode act", "connected (MQTT 5)", "docker ok", "dead-container", "remove_container", container[:12]):
            assert part in shown, shown
        code, text, _ = await seen.sidecar.ask("status", "--format", "json")
        assert code == 0
        status = json.loads(text)
        assert [alert["rule"] for alert in status["alerts"]] == ["dead-container"]
        assert status["jobs"][0]["target"] == container
        assert status["sources"]["docker"] == "ok"
        await seen.sidecar.stop()
        code, _, complaint = await seen.sidecar.ask("status")
        assert code == 2
        assert "no sidecar answers" in complaint


async def test_explain_shows_the_chain_after_the_end_of_the_sidecar(engine: ScratchEngine, watch: Watch) -> None:
    """Alert, rule, fact and what was done, from the journal alone; of what never happened it says so."""
    async with watch(engine) as seen, faults.dead_containers(engine) as dead:
        ((container, file),) = dead.items()
        await seen.outcome("remove_container", target=container, ok=False)
        await file.mend()
        await seen.alert("dead-container", "resolved")
        code, live, _ = await seen.sidecar.ask("explain", f"dead-container/{container}")
        assert code == 0
        await seen.sidecar.stop()
        code, shown, _ = await seen.sidecar.ask("explain", f"dead-container/{container}")
        assert (code, shown) == (0, live)
        for part in ("dead-container", "operation not permitted", "remove_container", "removed"):
            assert part in shown, shown
        code, _, complaint = await seen.sidecar.ask("explain", "no-such-thing")
        assert code == 2
        assert "no-such-thing" in complaint


async def test_a_rule_says_why_it_did_not_fire(engine: ScratchEngine, watch: Watch) -> None:
    """Nineteen containers are no storm, and that is what it says."""
    async with watch(engine) as seen:
        await faults.storm(engine, 19, image=TAGS[1], start=False)
        await until(lambda: len(seen.facts("container_event", action="create")) == 19, what="nineteen creations")
        code, shown, _ = await seen.sidecar.ask("explain", "--why-not", "container-storm")
        assert code == 0
        assert "19" in shown, shown
        assert "20" in shown, shown


async def test_a_recording_replayed_decides_the_same(engine: ScratchEngine, watch: Watch, tmp_path: Path) -> None:
    """What the running sidecar decided on a storm and a dead container is decided again on its recording, and twice alike."""
    recording = tmp_path / "facts.jsonl"
    async with watch(engine, arguments=("--record", str(recording))) as seen, faults.dead_containers(engine) as dead:
        ((container, file),) = dead.items()
        await faults.storm(engine, 25, image=TAGS[1])
        await seen.alert("container-storm")
        await seen.outcome("remove_container", target=container, ok=False)
        await file.mend()
        await seen.alert("dead-container", "resolved")
        await seen.sidecar.stop()
        received = {(alert["rule"], alert["key"], alert["status"]) for alert in seen.alerts()}
        first = await attempt(str(PROGRAM), "replay", str(recording), "--rules", str(SHIPPED), "--format", "json")
        again = await attempt(str(PROGRAM), "replay", str(recording), "--rules", str(SHIPPED), "--format", "json")
        assert first == again
        assert first[0] == 0, first[2]
        lines = [json.loads(line) for line in first[1].splitlines()]
        alerts = {(line["rule"], line["key"], line["status"]) for line in lines if line["does"] == "alert"}
        assert alerts == received
        actions = {line["params"].get("container") for line in lines if line.get("action") == "remove_container"}
        assert container in actions
        assert len(actions) == 26


async def test_record_alone_decides_nothing(engine: ScratchEngine, tmp_path: Path) -> None:
    """`record` writes facts and touches nothing; its file is one that replay takes."""
    recording = tmp_path / "facts.jsonl"
    environment = {**engine.environment, "DOCKWARDEN_STATE": str(tmp_path / "state"), "DOCKWARDEN_KERNEL_LOG": "off"}
    recorder = launch(str(PROGRAM), "record", str(recording), env=environment)
    try:
        await until(lambda: recording.exists() and "docker_listing" in recording.read_text(), what="the first facts")
        async with faults.dead_containers(engine) as dead:
            (container,) = dead
            await until(lambda: '"status": "dead"' in recording.read_text(), what="the dead container")
            recorder.send_signal(signal.SIGINT)
            assert await asyncio.to_thread(recorder.wait, 10) == 0
            assert await engine.status(container) == "dead"
    finally:
        recorder.kill()
    code, shown, _ = await attempt(str(PROGRAM), "replay", str(recording), "--rules", str(SHIPPED))
    assert code == 0
    assert f"remove_container container={container}" in shown.replace("\n", "")
