"""Commands of operators, and of whoever else may write to their topic."""

import itertools
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from engine.errors import DockwardenError
from engine.facts.timestamps import SECOND
from engine.journal.records import AuditRow
from engine.messages.commands import MAX_COMMAND_BYTES, sign_content
from engine.pipeline.intake import OperatorCommand
from engine.pipeline.schedule import BLOCKED_RECHECK_S
from engine.sidecar.command_gate import MEMORY
from engine.sidecar.command_keys import new_key_text
from engine.sidecar.commands import Commands
from tests.unit.pipeline.loop import House, container
from tests.unit.pipeline.support import BUSY, cid

SECRET = bytes(range(32))


class Console:
    """Commands to a sidecar, signed by ann unless said otherwise."""

    def __init__(self, folder: Path) -> None:
        self.house = House(folder)
        self.freeze = self.house.freeze
        self.keys = folder / "keys"
        self.keys.mkdir(mode=0o700)
        for operator in ("ann", "bob"):
            file = self.keys / f"{operator}.key"
            file.write_text(new_key_text(SECRET))
            file.chmod(0o600)
        self.nonces = itertools.count()
        self.commands = self.restarted()

    def restarted(self, remembered: str | None = None) -> Commands:
        """What takes commands, as after a start."""
        return Commands(
            self.house.intake,
            self.freeze,
            self._explain,
            host="h1",
            keys=self.keys,
            clock=self.house.clock,
            remembered=remembered,
        )

    @staticmethod
    def _explain(rule: str, key: str | None) -> dict[str, Any]:
        if rule != "dead-container":
            raise DockwardenError(f"nothing in the audit is called {rule!r}")
        return {"chain": key}

    def signed(self, name: str, by: str = "ann", **params: Any) -> bytes:
        """A command that is good for a minute."""
        now = self.house.clock.wall()
        content = {
            "id": "r1",
            "host": "h1",
            "name": name,
            "by": by,
            "issued_at": now,
            "expires_at": now + 60 * SECOND,
            "nonce": f"{next(self.nonces):016}",
            "params": params,
        }
        return sign_content(content, SECRET)

    async def send(self, name: str, by: str = "ann", **params: Any) -> dict[str, Any]:
        """A command, and its reply."""
        return await self.deliver(name, self.signed(name, by, **params))

    async def deliver(self, name: str, payload: bytes) -> dict[str, Any]:
        """A payload, and the reply to it; empty for none."""
        before = len(self.house.journal.outbox(1000))
        await self.commands.receive(name, payload)
        await self.house.turn()
        rows = [row for row in self.house.journal.outbox(1000)[before:] if row.kind == "reply"]
        if not rows:
            return {}
        reply: dict[str, Any] = json.loads(rows[0].payload)
        assert reply.pop("id") == "r1"
        return reply

    def audited(self) -> list[AuditRow]:
        """Commands in the audit."""
        return [row for row in self.house.journal.audit() if row.kind == "command"]


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
    rows = console.audited()
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
        ("freeze", {"action": "no_such_action"}),
        ("silence", {"rul": "dead-container", "seconds": -1}),
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
    [b"", b"{}", b"{", b"[]", b"7", b"\xff\xfe", b"[" * 10_000, b'{"id": "r1", "by": "ann"}', b"x" * (MAX_COMMAND_BYTES + 1)],
)
async def test_what_is_not_signed_is_refused_whatever_the_bytes(console: Console, payload: bytes) -> None:
    """Nothing is raised, nothing is done, nobody is answered, and the audit has it."""
    assert await console.deliver("freeze", payload) == {}
    assert not console.freeze.is_set()
    await console.house.turn()
    (row,) = console.audited()
    assert (row.verdict, row.action) == ("refused", "freeze")


async def test_a_faulty_command_with_an_id_is_answered(console: Console) -> None:
    """Who misspells a field receives of it instead of waiting."""
    reply = await console.send("silence", rul="dead-container", seconds=-1)
    assert not reply["ok"]
    assert "rul" in reply["error"]
    assert "seconds" in reply["error"]


async def test_a_recorded_command_is_not_carried_out_again_after_a_restart(console: Console) -> None:
    """What is remembered is in the journal with the command itself."""
    payload = console.signed("freeze")
    assert (await console.deliver("freeze", payload))["ok"]
    assert (await console.send("unfreeze"))["ok"]
    await console.house.turn()
    console.commands = console.restarted(console.house.journal.load().memory[MEMORY])
    assert (await console.deliver("freeze", payload))["code"] == "replayed"
    assert not console.freeze.is_set()


async def test_a_key_that_is_removed_commands_no_more(console: Console) -> None:
    """At once, without a restart."""
    assert (await console.send("freeze", by="bob"))["ok"]
    (console.keys / "bob.key").unlink()
    assert await console.send("unfreeze", by="bob") == {}
    assert console.freeze.is_set()


async def test_without_usable_keys_nothing_is_believed(console: Console) -> None:
    """A folder that others may write has no keys."""
    console.keys.chmod(0o777)
    assert await console.send("freeze") == {}
    assert not console.freeze.is_set()


async def test_freeze_works_in_memory_when_the_state_folder_cannot_be_written(console: Console) -> None:
    """An emergency stop that needs a disk is none; the reply says that it ends with the process."""
    folder = console.freeze.path.parent
    console.freeze.path = folder / "no such folder" / "freeze"
    reply = await console.send("freeze")
    assert reply["ok"]
    assert "in memory only" in reply["note"]
    assert console.freeze.is_set()
    assert (await console.send("unfreeze"))["ok"]
    assert not console.freeze.is_set()


async def test_one_action_is_frozen_by_itself(console: Console) -> None:
    """By a command or by touching its file; the others go on."""
    assert await console.send("freeze", action="remove_container") == {"ok": True, "frozen": "remove_container"}
    assert console.freeze.actions() == {"remove_container"}
    assert not console.freeze.is_set()
    await console.house.emit(container(1))
    await console.house.act()
    assert console.house.attempts == []
    assert (await console.send("unfreeze", action="remove_container"))["ok"]
    console.house.clock.advance(BLOCKED_RECHECK_S)
    await console.house.act()
    assert len(console.house.attempts) == 1


async def test_a_reply_goes_out_under_its_id(console: Console) -> None:
    """The reply is a message like any other."""
    await console.house.intake.put(OperatorCommand("explain", id="a/b", reply={"ok": True}))
    await console.house.turn()
    (row,) = console.house.journal.outbox(10)
    assert (row.topic, json.loads(row.payload)) == ("dockwarden/h1/reply/a%2Fb", {"id": "a/b", "ok": True})
