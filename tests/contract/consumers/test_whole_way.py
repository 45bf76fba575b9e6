"""The programs as processes of their own: a test alarm from a sidecar to a receiver and back, signals, a sudden end."""

import asyncio
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from tests.contract.consumers.running import QUICK, config, opened, publish, secret
from tests.lab.broker import ScratchBroker
from tests.lab.http_receiver import Answer, HttpReceiver
from tests.lab.sidecar import PROGRAM
from tests.lab.waiting import until

STOP_S = 15.0


@contextmanager
def _process(log: Path, *command: str | Path, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("ab") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, env={**os.environ, **environment})
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(STOP_S)


def _hook(receiver: HttpReceiver, **more: Any) -> dict[str, Any]:
    return {"hook": {"type": "webhook", "url": receiver.url, **more}}


async def test_a_test_alarm_goes_the_whole_way_and_comes_back(
    broker: ScratchBroker, receiver: HttpReceiver, tmp_path: Path
) -> None:
    """Outbox, broker, pager and chat, their receivers; `dockwarden alarm-test` says who took it, and fails where nobody does."""
    receiver.answers = [Answer(503)]
    config(tmp_path, broker, _hook(receiver))
    address = f"mmost://127.0.0.1:{receiver.port}/abcdefghijklmnopqrstuvwxyz"
    chat = {"ops": {"type": "apprise", "url_file": secret(tmp_path, "chat.url", address)}}
    (tmp_path / "chat-state").mkdir()
    config(tmp_path, broker, chat, "chat", state=str(tmp_path / "chat-state"))
    environment = {
        "DOCKER_HOST": f"unix://{tmp_path}/none.sock",
        "DOCKWARDEN_HOST": "web-7",
        "DOCKWARDEN_MQTT_URL": broker.url,
        "DOCKWARDEN_STATE": str(tmp_path / "sidecar"),
        "DOCKWARDEN_KERNEL_LOG": "off",
    }

    async def alarm_test(*arguments: str) -> tuple[int, str]:
        run = partial(subprocess.run, capture_output=True, text=True, timeout=60, check=False, env={**os.environ, **environment})
        done = await asyncio.to_thread(run, [PROGRAM, "alarm-test", *arguments])
        return done.returncode, done.stdout + done.stderr

    with _process(tmp_path / "sidecar.log", PROGRAM, "run", **environment):
        await until((tmp_path / "sidecar/status.sock").exists, what="the sidecar", within_s=30)
        code, text = await alarm_test("--wait", "0.5")
        assert (code, "no receiver took it" in text) == (1, True), text
        pager = _process(
            tmp_path / "pager.log", PROGRAM.with_name("dockwarden-pager"), "run", "--config", tmp_path / "pager.yaml"
        )
        told = _process(tmp_path / "chat.log", PROGRAM.with_name("dockwarden-chat"), "run", "--config", tmp_path / "chat.yaml")
        with pager as running, told:
            for name in ("pager", "chat"):
                log = tmp_path / f"{name}.log"
                await until(lambda: "listening" in log.read_text(), what=name, within_s=30)  # noqa: B023  awaited at once
            code, text = await alarm_test("--wait", "30", "--format", "json")
            assert code == 0, text
            answer = json.loads(text)
            assert {(one["consumer"], one["receiver"]) for one in answer["taken"]} == {("pager", "hook"), ("chat", "ops")}
            running.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(running.wait, STOP_S) == 0
    # Beside it there may be an alert of the sidecar, that finds no Docker here.
    assert sum("TEST" in str(body) for body in receiver.bodies) >= 2


async def test_an_end_without_warning_loses_nothing(broker: ScratchBroker, receiver: HttpReceiver, tmp_path: Path) -> None:
    """Killed in the middle of a delivery, with more in the queue: after the restart everything is delivered, each once."""
    receiver.always = Answer(hang_s=5.0)
    chosen = config(tmp_path, broker, _hook(receiver))
    command = (PROGRAM.with_name("dockwarden-pager"), "run", "--config", tmp_path / "pager.yaml")
    with _process(tmp_path / "log", *command) as first:
        await until(lambda: "listening" in (tmp_path / "log").read_text(), what="the pager", within_s=30)
        for number in range(5):
            await publish(broker, number, key=f"c{number}")
        with opened(chosen) as store:
            await until(lambda: store.receiver_states(["hook"])[0].waiting == 5, what="all five in the queue")
        await until(lambda: receiver.posts, what="the delivery that never ends")
        first.kill()
    receiver.posts.clear()
    receiver.always = Answer()
    with _process(tmp_path / "log", *command):
        await until(lambda: len(receiver.posts) >= 5, what="all five", within_s=30)
        with opened(chosen) as store:
            await until(lambda: store.receiver_states(["hook"])[0].taken == 5, what="an empty queue")
    assert sorted(body["alert"]["key"] for body in receiver.bodies) == [f"c{number}" for number in range(5)]
    assert QUICK["timeout_s"] < 5.0
