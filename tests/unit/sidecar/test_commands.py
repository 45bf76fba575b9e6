"""Commands of operators, and of whoever else may write to their topic."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from engine.errors import DockwardenError
from engine.sidecar.commands import MAX_COMMAND, Commands, FreezeFile
from tests.unit.pipeline.loop import Loop, container
from tests.unit.pipeline.support import BUSY, cid


class Console:
    """Commands to a sidecar."""

    def __init__(self, folder: Path) -> None:
        self.loop = Loop(folder)
        self.freeze = FreezeFile(folder / "freeze")
        self.commands = Commands(self.loop.sidecar, self.freeze, self._explain)

    @staticmethod
    def _explain(rule: str, key: str | None) -> dict[str, Any]:
        if rule != "dead-container":
            raise DockwardenError(f"nothing in the audit is called {rule!r}")
        return {"chain": key}

    def say(self, name: str, **fields: Any) -> dict[str, Any]:
        """A command, and its reply."""
        ident, reply = self.commands.run(name, json.dumps({"id": "r1", **fields}).encode())
        assert ident == "r1"
        return reply


@pytest.fixture
async def console(tmp_path: Path) -> AsyncIterator[Console]:
    """A console with a sidecar of its own."""
    console = Console(tmp_path)
    yield console
    await console.loop.keeper.close()


async def test_freeze_and_unfreeze_are_a_file_that_anybody_may_touch(console: Console) -> None:
    """The command and `touch` mean the same; both may be repeated."""
    for _ in range(2):
        assert console.say("freeze") == {"ok": True, "frozen": True}
        assert console.freeze()
    for _ in range(2):
        assert console.say("unfreeze") == {"ok": True, "frozen": False}
        assert not console.freeze()


async def test_retry_now_hurries_the_jobs_of_a_container(console: Console) -> None:
    """An operator who has mended the cause need not wait for the backoff."""
    loop = console.loop
    loop.outcomes[cid(1)] = [BUSY]
    await loop.tell(container(1))
    await loop.act()
    await loop.act()
    assert len(loop.attempts) == 1
    assert console.say("retry-now", container=cid(1)) == {"ok": True, "jobs": 1}
    await loop.act()
    assert len(loop.attempts) == 2


async def test_ack_and_silence_reach_the_alert(console: Console) -> None:
    """The acknowledged alert is said again with the name; the silenced one is not said."""
    await console.loop.tell(container(1))
    assert console.say("ack", rule="dead-container", key=cid(1), by="ann")["ok"]
    assert console.say("silence", rule="dead-container", seconds=60, by="ann") == {"ok": True, "silenced_s": 60.0}
    await console.loop.tell(container(2))
    alerts = console.loop.messages("alert")
    assert [alert["annotations"].get("acknowledged_by") for alert in alerts] == [None, "ann"]


async def test_every_command_is_in_the_audit_with_who_gave_it(console: Console) -> None:
    """Also the one that was refused."""
    console.say("freeze", by="ann")
    console.say("ack", rule="nothing", by="bob")
    await console.loop.turn()
    rows = [row for row in console.loop.journal.audit() if row.kind == "command"]
    assert [(row.action, row.verdict, row.detail["by"]) for row in rows] == [("freeze", "done", "ann"), ("ack", "refused", "bob")]


async def test_explain_gives_the_chain(console: Console) -> None:
    """What `dockwarden explain` shows, as JSON."""
    assert console.say("explain", rule="dead-container", key="k") == {"ok": True, "chain": "k"}


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
    reply = console.say(name, **fields)
    assert not reply["ok"]
    assert reply["error"]
    await console.loop.turn()
    assert console.loop.keeper.healthy


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
    ident, reply = console.commands.run("freeze", payload)
    assert (ident, reply["ok"]) == ("", False)
    assert not console.freeze()


async def test_a_faulty_command_with_an_id_is_answered(console: Console) -> None:
    """Who misspells a field hears of it instead of waiting."""
    reply = console.say("silence", rul="dead-container", seconds=-1)
    assert not reply["ok"]
    assert "rul" in reply["error"]
    assert "seconds" in reply["error"]


async def test_an_empty_payload_is_a_command_without_fields(console: Console) -> None:
    """`mosquitto_pub -n` freezes."""
    assert console.commands.run("freeze", b"") == ("", {"ok": True, "frozen": True})


async def test_a_reply_goes_out_under_its_id(console: Console) -> None:
    """The reply is a message like any other."""
    console.loop.sidecar.reply("a/b", {"ok": True})
    await console.loop.turn()
    (row,) = console.loop.journal.outbox(10)
    assert (row.topic, json.loads(row.payload)) == ("dockwarden/h1/reply/a%2Fb", {"id": "a/b", "ok": True})
