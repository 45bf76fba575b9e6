"""Commands of operators, and of whoever else may write to their topic."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from engine.errors import DockwardenError
from engine.pipeline.intake import OperatorCommand
from engine.sidecar.commands import MAX_COMMAND, Commands
from tests.unit.pipeline.loop import House, container
from tests.unit.pipeline.support import BUSY, cid


class Console:
    """Commands to a sidecar."""

    def __init__(self, folder: Path) -> None:
        self.house = House(folder)
        self.freeze = self.house.freeze
        self.commands = Commands(self.house.intake, self.freeze, self._explain)

    @staticmethod
    def _explain(rule: str, key: str | None) -> dict[str, Any]:
        if rule != "dead-container":
            raise DockwardenError(f"nothing in the audit is called {rule!r}")
        return {"chain": key}

    async def send(self, name: str, **fields: Any) -> dict[str, Any]:
        """A command, and its reply."""
        before = len(self.house.journal.outbox(1000))
        await self.commands.receive(name, json.dumps({"id": "r1", **fields}).encode())
        await self.house.turn()
        (row,) = [row for row in self.house.journal.outbox(1000)[before:] if row.kind == "reply"]
        reply: dict[str, Any] = json.loads(row.payload)
        assert reply.pop("id") == "r1"
        return reply


@pytest.fixture
async def console(tmp_path: Path) -> AsyncIterator[Console]:
    """A console with a sidecar of its own."""
    console = Console(tmp_path)
    yield console
    await console.house.writer.close()


async def test_freeze_and_unfreeze_are_a_file_that_anybody_may_touch(console: Console) -> None:
    """The command and `touch` mean the same; both may be repeated."""
    for _ in range(2):
        assert await console.send("freeze") == {"ok": True, "frozen": True}
        assert console.freeze.is_set()
    for _ in range(2):
        assert await console.send("unfreeze") == {"ok": True, "frozen": False}
        assert not console.freeze.is_set()


async def test_retry_now_makes_the_jobs_due_of_a_container(console: Console) -> None:
    """An operator who has fixed the cause need not wait for the backoff."""
    house = console.house
    house.outcomes[cid(1)] = [BUSY]
    await house.emit(container(1))
    await house.act()
    await house.act()
    assert len(house.attempts) == 1
    assert await console.send("retry-now", container=cid(1)) == {"ok": True, "jobs": 1}
    await house.act()
    assert len(house.attempts) == 2


async def test_ack_and_silence_reach_the_alert(console: Console) -> None:
    """The acknowledged alert is published again with the name; the silenced one is not."""
    await console.house.emit(container(1))
    assert (await console.send("ack", rule="dead-container", key=cid(1), by="ann"))["ok"]
    assert await console.send("silence", rule="dead-container", seconds=60, by="ann") == {"ok": True, "silenced_s": 60.0}
    await console.house.emit(container(2))
    alerts = console.house.messages("alert")
    assert [alert["annotations"].get("acknowledged_by") for alert in alerts] == [None, "ann"]


async def test_every_command_is_in_the_audit_with_who_gave_it(console: Console) -> None:
    """Also the one that was refused."""
    await console.send("freeze", by="ann")
    await console.send("ack", rule="nothing", by="bob")
    await console.house.turn()
    rows = [row for row in console.house.journal.audit() if row.kind == "command"]
    assert [(row.action, row.verdict, row.detail["by"]) for row in rows] == [("freeze", "done", "ann"), ("ack", "refused", "bob")]


async def test_explain_gives_the_chain(console: Console) -> None:
    """What `dockwarden explain` shows, as JSON."""
    assert await console.send("explain", rule="dead-container", key="k") == {"ok": True, "chain": "k"}


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("explain", {"rule": "no-such-rule"}),
        ("silence", {"rule": "no-such-rule"}),
        ("ack", {"rule": "dead-container", "key": "unknown"}),
        ("reboot", {}),
        ("", {}),
        ("\ud800\x00", {}),
    ],
)
async def test_a_command_that_cannot_be_done_is_answered_and_nothing_ends(
    console: Console, name: str, fields: dict[str, Any]
) -> None:
    """Whoever may write to the topic must not be able to stop the sidecar with a question about nothing."""
    reply = await console.send(name, **fields)
    assert not reply["ok"]
    assert reply["error"]
    await console.house.turn()
    assert console.house.writer.healthy


@pytest.mark.parametrize(
    "payload",
    [
        b"{",
        b"[]",
        b"7",
        b"\xff\xfe",
        b"[" * 60_000,
        b'{"id": 7}',
        b'{"seconds": NaN}',
        b"x" * (MAX_COMMAND + 1),
    ],
)
async def test_what_is_no_command_is_refused_whatever_the_bytes(console: Console, payload: bytes) -> None:
    """Nothing is raised, nothing is done, and there is no reply to send."""
    command = await console.commands.prepare("freeze", payload)
    assert command.reply is not None
    assert (command.id, command.reply["ok"]) == ("", False)
    assert not console.freeze.is_set()


async def test_a_faulty_command_with_an_id_is_answered(console: Console) -> None:
    """Who misspells a field hears of it instead of waiting."""
    reply = await console.send("silence", rul="dead-container", seconds=-1)
    assert not reply["ok"]
    assert "rul" in reply["error"]
    assert "seconds" in reply["error"]


async def test_an_empty_payload_is_a_command_without_fields(console: Console) -> None:
    """`mosquitto_pub -n` freezes."""
    command = await console.commands.prepare("freeze", b"")
    assert (command.id, command.reply) == ("", {"ok": True, "frozen": True})


async def test_a_reply_goes_out_under_its_id(console: Console) -> None:
    """The reply is a message like any other."""
    await console.house.intake.put(OperatorCommand("explain", id="a/b", reply={"ok": True}))
    await console.house.turn()
    (row,) = console.house.journal.outbox(10)
    assert (row.topic, json.loads(row.payload)) == ("dockwarden/h1/reply/a%2Fb", {"id": "a/b", "ok": True})
