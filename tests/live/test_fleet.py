"""`dockwarden fleet` over a real broker: a hot pair of which consumers hear one, and a breaker over all hosts."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import aiomqtt
import pytest

from engine.facts.timestamps import SECOND
from engine.messages.cloudevents import StatusData, action_event, alert_event, status_event
from engine.messages.commands import CommandMessage, judge_command
from engine.ports.broker import Message, OutboxRow
from engine.sidecar.command_keys import new_key_text, read_command_key
from tests.clocks import SYSTEM
from tests.lab.broker import ScratchBroker
from tests.lab.sidecar import PROGRAM
from tests.lab.waiting import until

pytestmark = pytest.mark.live

HOSTS = [f"web-{number}" for number in range(12)]
WITHIN_S = 40.0


@pytest.fixture
def broker() -> Iterator[ScratchBroker]:
    """One of its own: a fleet hears everything, and what it says is retained."""
    with ScratchBroker() as running:
        yield running


class Hosts:
    """Hosts at a broker: they publish, hear the fleet's alerts, and confirm commands that are signed for them."""

    def __init__(self, client: aiomqtt.Client, key_file: Path | None = None) -> None:
        self._client = client
        self._key_file = key_file
        self.heard: list[tuple[str, dict[str, Any]]] = []
        self.frozen: Counter[str] = Counter()
        self._seq = SYSTEM.wall() // 1000

    async def listen(self) -> None:
        """Until cancelled."""
        keys = {} if self._key_file is None else {self._key_file.stem: read_command_key(self._key_file)}
        async for message in self._client.messages:
            levels = str(message.topic).split("/")
            payload = bytes(message.payload)
            if levels[2] == "command":
                command = judge_command(payload, name=levels[3], host=levels[1], keys=keys, now=SYSTEM.wall(), seen={})
                assert isinstance(command, CommandMessage), command
                self.frozen[f"{levels[1]} {command.name} {command.params.action}"] += 1
                await self._client.publish(f"dockwarden/{levels[1]}/reply/{command.id}", b'{"ok": true}', qos=1)
            elif payload:
                self.heard.append(("/".join(levels[2:]), json.loads(payload)["data"]))

    async def publish(self, *messages: Message | OutboxRow) -> None:
        """As a sidecar does."""
        for message in messages:
            await self._client.publish(message.topic, message.payload, qos=1, retain=message.retain)

    async def online(self) -> None:
        """Every host has a status."""
        now = SYSTEM.wall()
        data = [StatusData(state="online", host=host, version="1", mode="act", rules_version="r1") for host in HOSTS]
        await self.publish(*(status_event(one, at=now, event_id="1") for one in data))

    async def storm(self, rule: str) -> None:
        """The same alert on every host."""
        now = SYSTEM.wall() - SECOND
        for host in HOSTS:
            self._seq += 1
            await self.publish(
                alert_event(
                    host=host, rule=rule, key="k", status="firing", severity="error", summary="s", starts_at=now, updated_at=now,
                    seq=self._seq,
                )
            )  # fmt: skip

    async def act(self, action: str, rule: str) -> None:
        """Every host does the same by the same rule."""
        for host in HOSTS:
            self._seq += 1
            await self.publish(
                action_event(host=host, action=action, target="t", ok=True, attempt=1, at=SYSTEM.wall(), seq=self._seq, rule=rule)
            )

    def of(self, topic: str) -> list[dict[str, Any]]:
        """What was heard on a topic below the fleet's."""
        return [data for heard, data in self.heard if heard == topic]


@contextlib.asynccontextmanager
async def hosts_at(broker: ScratchBroker, key_file: Path | None = None) -> AsyncIterator[Hosts]:
    """Connected, and listening."""
    async with aiomqtt.Client(broker.host, broker.port, protocol=aiomqtt.ProtocolVersion.V5) as client:
        hosts = Hosts(client, key_file)
        for topic in ("dockwarden/fleet/alert/#", "dockwarden/fleet/action/#", "dockwarden/+/command/+"):
            await client.subscribe(topic, qos=1)
        listening = asyncio.create_task(hosts.listen())
        try:
            yield hosts
        finally:
            listening.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await listening


@contextlib.contextmanager
def fleet_engine(broker: ScratchBroker, folder: Path, name: str, *arguments: str, **environment: str) -> Any:
    """One engine as a process of its own; killed at the end."""
    log = (folder / f"{name}.log").open("wb")
    command = [
        str(PROGRAM),
        "fleet",
        "--url",
        broker.url,
        "--name",
        name,
        "--state",
        str(folder / name),
        "--port",
        "0",
        *arguments,
    ]
    process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env={**os.environ, **environment})
    try:
        yield process
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait(10)
        log.close()


def caught_up(folder: Path, name: str) -> bool:
    """Whether an engine has heard everything that is retained."""
    return "fleet_caught_up" in (folder / f"{name}.log").read_text()


async def holder(broker: ScratchBroker) -> str:
    """The engine whose renewals of the lease come."""
    async with aiomqtt.Client(broker.host, broker.port, protocol=aiomqtt.ProtocolVersion.V5) as client:
        await client.subscribe("dockwarden/fleet/lease", qos=1)
        async for message in client.messages:
            content = json.loads(bytes(message.payload))
            if not message.retain and "after" not in content:
                return str(content["engine"]).removeprefix("fleet@")
    raise AssertionError


async def test_of_a_hot_pair_consumers_hear_one_and_lose_nothing_with_the_other(broker: ScratchBroker, tmp_path: Path) -> None:
    """One storm on all hosts is one message; kill -9 of the engine that holds the lease delays the next by less than it waits."""
    with fleet_engine(broker, tmp_path, "a") as first, fleet_engine(broker, tmp_path, "b") as second:
        async with hosts_at(broker) as hosts:
            for name in ("a", "b"):
                await until(partial(caught_up, tmp_path, name), what=f"engine {name}", within_s=WITHIN_S)
            await hosts.online()
            leading = await asyncio.wait_for(holder(broker), WITHIN_S)
            await hosts.storm("storm")
            topic = "alert/fleet-same-problem/storm"
            await until(lambda: hosts.of(topic), what="the alert", within_s=WITHIN_S)
            await hosts.storm("another")
            await until(lambda: hosts.of("alert/fleet-same-problem/another"), what="the other alert", within_s=WITHIN_S)
            assert [data["status"] for data in hosts.of(topic)] == ["firing"]

            {"a": first, "b": second}[leading].send_signal(signal.SIGKILL)
            await hosts.storm("after")
            await until(lambda: hosts.of("alert/fleet-same-problem/after"), what="the survivor's alert", within_s=WITHIN_S)
            other = "b" if leading == "a" else "a"
            assert await asyncio.wait_for(holder(broker), WITHIN_S) == other
            await until(lambda: hosts.of("alert/fleet-engine-down/fleet@" + leading), what="that it is gone", within_s=WITHIN_S)


async def test_the_breaker_over_hosts_stops_the_action_on_each_by_a_signed_command(broker: ScratchBroker, tmp_path: Path) -> None:
    """Twelve hosts act by one rule: each gets a freeze of that action, signed with the fleet's key, and the outcome says so."""
    key = tmp_path / "fleet.key"
    key.write_text(new_key_text(b"k" * 32, ["freeze"]))
    key.chmod(0o600)
    environment = {"DOCKWARDEN_FLEET__KEY_FILE": str(key)}
    with fleet_engine(broker, tmp_path, "a", "--act", **environment):
        async with hosts_at(broker, key) as hosts:
            await until(lambda: caught_up(tmp_path, "a"), what="the engine", within_s=WITHIN_S)
            await hosts.online()
            await hosts.act("remove_container", "storm-cleanup")
            outcome = "action/freeze_action/remove_container"
            await until(lambda: hosts.of(outcome), what="the outcome", within_s=WITHIN_S)
            assert [data["ok"] for data in hosts.of(outcome)] == [True], hosts.of(outcome)
            assert set(hosts.frozen) == {f"{host} freeze remove_container" for host in HOSTS}
            assert hosts.of("alert/fleet-breaker/storm-cleanup%2Fremove_container")
