"""Signed commands: what is carried out, and everything that is not."""

import hashlib
import hmac
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.facts.timestamps import SECOND
from engine.messages.commands import (
    MAX_CLOCK_DIFFERENCE,
    MAX_COMMAND_BYTES,
    MAX_LIFETIME,
    CommandMessage,
    CommandParams,
    OperatorKey,
    Refusal,
    judge_command,
    nonce_id,
    sign,
)

NOW = 1_800_000_000 * SECOND
SECRET = bytes(range(32))
KEYS = {
    "kim": OperatorKey("kim", SECRET),
    "night": OperatorKey("night", bytes(32), frozenset({"ack"})),
}


def command(**changes: Any) -> CommandMessage:
    """A command of kim's to silence a rule."""
    content: dict[str, Any] = {
        "id": "r1",
        "host": "web-7",
        "name": "silence",
        "by": "kim",
        "issued_at": NOW,
        "expires_at": NOW + 60 * SECOND,
        "nonce": "0123456789abcdef",
        "params": CommandParams(rule="dead-container"),
    }
    return CommandMessage.model_validate(content | changes)


def judged(payload: bytes, *, name: str = "silence", now: int = NOW, seen: dict[str, int] | None = None) -> Any:
    """The verdict of host web-7."""
    return judge_command(payload, name=name, host="web-7", keys=KEYS, now=now, seen=seen or {})


def code(payload: bytes, **world: Any) -> str:
    """Of the refusal, empty for none."""
    verdict = judged(payload, **world)
    return verdict.code if isinstance(verdict, Refusal) else ""


def test_a_signed_command_is_taken_as_it_was_meant() -> None:
    """All fields arrive."""
    assert judged(sign(command(), SECRET)) == command()


def test_a_signature_of_another_program_counts_if_it_follows_the_written_rule() -> None:
    """Sorted keys, no spaces, ASCII only, all members but the signature, behind the context line: nothing of ours is needed."""
    content = {
        "by": "kim",
        "expires_at": NOW + SECOND,
        "host": "web-7",
        "id": "ü",
        "issued_at": NOW,
        "name": "freeze",
        "nonce": "n" * 16,
    }
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    signature = hmac.new(SECRET, b"dockwarden command v1\n" + text.encode(), hashlib.sha256).hexdigest()
    assert judged(json.dumps(content | {"signature": signature}, indent=2).encode(), name="freeze").id == "ü"


@pytest.mark.parametrize(
    ("payload", "world", "expected"),
    [
        (b"", {}, "malformed"),
        (b"\xff", {}, "malformed"),
        (b"[]", {}, "malformed"),
        (b"[" * 100_000, {}, "malformed"),
        (b" " * (MAX_COMMAND_BYTES + 1), {}, "malformed"),
        (b'{"id": "1"}', {}, "unsigned"),
        (b'{"id": "1", "signature": ""}', {}, "unsigned"),
        (b'{"id": "1", "signature": 7}', {}, "unsigned"),
        (b'{"id": "1", "signature": "00"}', {}, "unknown_operator"),
        (b'{"id": "1", "by": ["kim"], "signature": "00"}', {}, "unknown_operator"),
        (sign(command(by="eve"), SECRET), {}, "unknown_operator"),
        (sign(command(), b"x" * 32), {}, "bad_signature"),
        (sign(command(by="night"), SECRET), {}, "bad_signature"),
        (sign(command(host="web-8"), SECRET), {}, "wrong_host"),
        (sign(command(), SECRET), {"name": "freeze"}, "wrong_name"),
        (sign(command(), SECRET), {"now": NOW + 60 * SECOND}, "expired"),
        (sign(command(), SECRET), {"now": NOW - MAX_CLOCK_DIFFERENCE - 1}, "not_yet"),
        (sign(command(expires_at=NOW + MAX_LIFETIME + 1), SECRET), {}, "malformed"),
        (sign(command(), SECRET), {"seen": {nonce_id(command()): NOW + SECOND}}, "replayed"),
        (sign(command(by="night"), bytes(32)), {}, "not_allowed"),
    ],
)
def test_everything_else_is_refused_with_its_reason(payload: bytes, world: dict[str, Any], expected: str) -> None:
    """One reason each, and no exception whatever is sent."""
    assert code(payload, **world) == expected


def test_who_proved_nothing_is_not_answered() -> None:
    """A reply tells a forger that somebody listens, and the id of the reply would be the forger's choice."""
    for payload in (b"{}", sign(command(by="eve"), SECRET), sign(command(), b"x" * 32), sign(command(host="web-8"), SECRET)):
        refusal = judged(payload)
        assert refusal.reply_to == ""


def test_a_key_is_not_in_what_is_printed_of_it() -> None:
    """Tracebacks and logs print objects."""
    assert "00" not in repr(KEYS["night"])
    assert repr(SECRET)[2:-1] not in repr(KEYS["kim"])


@given(
    st.dictionaries(
        st.sampled_from(["id", "host", "name", "by", "issued_at", "expires_at", "nonce", "params"]),
        st.one_of(
            st.text(max_size=20),
            st.integers(),
            st.sampled_from(["night", "kim", "freeze", "web-8", NOW, {"rule": "other"}, {"container": "c"}]),
        ),
        min_size=1,
    )
)
def test_no_change_of_a_signed_command_is_taken(changes: dict[str, Any]) -> None:
    """Whatever members are changed after signing."""
    content = json.loads(sign(command(), SECRET))
    changed = content | changes
    verdict = judged(json.dumps(changed).encode())
    assert isinstance(verdict, Refusal) or changed == content


@given(st.binary(max_size=300))
def test_no_payload_raises(payload: bytes) -> None:
    """A judge that raises is a way to stop the host."""
    assert isinstance(judged(payload), Refusal)
