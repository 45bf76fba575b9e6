"""The gate before commands: once each, not too many, also across restarts."""

from typing import Any

from engine.facts.timestamps import SECOND
from engine.messages.commands import CommandMessage, OperatorKey, Refusal, sign
from engine.sidecar.command_gate import MAX_NONCES, PER_OPERATOR, UNPROVEN, WINDOW, CommandGate
from tests.unit.messages.test_commands import KEYS, NOW, SECRET, command


def admitted(gate: CommandGate, payload: bytes, *, now: int = NOW, monotonic: int = 0, **over: Any) -> CommandMessage | Refusal:
    """What host web-7 makes of it."""
    keys: dict[str, OperatorKey] = over.get("keys", KEYS)
    return gate.admit(payload, name="silence", host="web-7", keys=keys, now=now, monotonic=monotonic)


def numbered(number: int) -> bytes:
    """A command with a nonce of its own."""
    return sign(command(nonce=f"{number:016}"), SECRET)


def test_a_command_is_carried_out_once_also_after_a_restart() -> None:
    """Whoever recorded it gains nothing."""
    gate = CommandGate()
    assert isinstance(admitted(gate, numbered(1)), CommandMessage)
    again = admitted(gate, numbered(1))
    assert isinstance(again, Refusal)
    assert again.code == "replayed"
    restarted = CommandGate()
    restarted.restore(gate.to_json())
    after = admitted(restarted, numbered(1))
    assert isinstance(after, Refusal)
    assert after.code == "replayed"


def test_an_operator_has_a_rate_and_others_their_own() -> None:
    """A script gone wrong does not keep the others out, and may go on when the window has passed."""
    gate = CommandGate()
    verdicts = [admitted(gate, numbered(number)) for number in range(PER_OPERATOR + 1)]
    assert all(isinstance(verdict, CommandMessage) for verdict in verdicts[:-1])
    assert isinstance(verdicts[-1], Refusal)
    assert verdicts[-1].code == "rate_limited"
    other = {**KEYS, "ann": OperatorKey("ann", b"a" * 32)}
    assert isinstance(admitted(gate, sign(command(by="ann"), b"a" * 32), keys=other), CommandMessage)
    assert isinstance(admitted(gate, numbered(99), monotonic=WINDOW), CommandMessage)


def test_forgeries_are_limited_and_lock_nobody_out() -> None:
    """Their number is counted; a proved operator is not slowed by them."""
    gate = CommandGate()
    codes = [getattr(admitted(gate, b"{}"), "code", "") for _ in range(UNPROVEN + 5)]
    assert codes == ["unsigned"] * UNPROVEN + ["rate_limited"] * 5
    assert gate.refused == {"unsigned": UNPROVEN, "rate_limited": 5}
    assert isinstance(admitted(gate, numbered(1)), CommandMessage)


def test_nonces_are_forgotten_when_their_commands_have_expired() -> None:
    """Memory stays small, and what has expired is refused for that."""
    gate = CommandGate()
    admitted(gate, numbered(1))
    late = admitted(gate, numbered(1), now=NOW + 61 * SECOND)
    assert isinstance(late, Refusal)
    assert late.code == "expired"
    assert gate.to_json() == "{}"


def test_while_too_many_nonces_are_remembered_nothing_is_let_in() -> None:
    """None is forgotten early, which would let a recorded command in again."""
    gate = CommandGate()
    gate.restore("{" + ",".join(f'"{number}":{NOW + SECOND}' for number in range(MAX_NONCES)) + "}")
    verdict = admitted(gate, numbered(1))
    assert isinstance(verdict, Refusal)
    assert verdict.code == "rate_limited"


def test_a_memory_that_cannot_be_read_does_not_stop_the_host() -> None:
    """It is said, and the gate goes on with none."""
    for text in ("", "[]", '{"a": []}', "{"):
        gate = CommandGate()
        gate.restore(text)
        assert gate.to_json() == "{}"
