"""Commands of operators as they travel: signed, for one host, for a short time, once. Pure.

A command is one JSON object. Its signature is HMAC-SHA256 (RFC 2104), by the key of the operator named in `by`, over all other
members in canonical form (JSON, keys sorted, no spaces, ASCII only), so that host, name, times and nonce cannot be changed, and a
command for one host is none for another. Knows no key file, no clock, and remembers no nonce by itself.
"""

import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from engine.facts.timestamps import SECOND, Micros

COMMANDS = ("ack", "explain", "freeze", "retry-now", "silence", "unfreeze")
"""Names of commands; each is the last level of its topic, `dockwarden/HOST/command/NAME`."""

CommandName = Literal["ack", "explain", "freeze", "retry-now", "silence", "unfreeze"]

MAX_COMMAND_BYTES = 16 * 1024
"""A longer payload is no command: rule ids, keys and container ids together stay far below."""

MAX_ID = 128
"""Characters of the id that names a reply."""

MAX_LIFETIME: Micros = 600 * SECOND
"""A command that claims to be good for longer is refused: nonces need not be remembered for longer than this."""

MAX_CLOCK_DIFFERENCE: Micros = 120 * SECOND
"""The clock of the one who commands may be ahead of the host's by so much."""

MIN_KEY_BYTES = 32
"""As long as the digest (RFC 2104, 3: shorter keys weaken it)."""

_CONTEXT = b"dockwarden command v1\n"
"""Stands before what is signed: a signature of a command is none of anything else that the same key may sign."""

RefusalCode = Literal[
    "malformed",
    "unsigned",
    "unknown_operator",
    "bad_signature",
    "wrong_host",
    "wrong_name",
    "not_yet",
    "expired",
    "replayed",
    "not_allowed",
    "rate_limited",
]


class CommandParams(BaseModel):
    """What a command may say. Which fields it needs depends on its name."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rule: str = Field(default="", max_length=256)
    key: str | None = Field(default=None, max_length=4096)
    seconds: float = Field(default=3600.0, gt=0, le=30 * 86_400, allow_inf_nan=False, description="How long a silence lasts.")
    container: str = Field(default="", max_length=256)
    action: str = Field(default="", max_length=64, description="freeze, unfreeze: this action alone; empty: all actions.")
    reason: str = Field(default="", max_length=512, description="Stands in the audit.")


class CommandMessage(BaseModel):
    """One command with everything that its signature covers."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str = Field(min_length=1, max_length=MAX_ID, description="Names the reply, `dockwarden/HOST/reply/ID`.")
    host: str = Field(min_length=1, max_length=255, description="The one host that it is for.")
    name: CommandName
    by: str = Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9._@-]*$", description="Whose key signs it.")
    issued_at: Micros = Field(ge=0, description="Microseconds since 1970 UTC.")
    expires_at: Micros = Field(ge=0, description="Microseconds since 1970 UTC.")
    nonce: str = Field(min_length=16, max_length=64, description="Random; a command is carried out once.")
    params: CommandParams = CommandParams()


@dataclass(frozen=True, slots=True)
class OperatorKey:
    """What one operator may command with."""

    operator: str
    secret: bytes
    allow: frozenset[str] = frozenset(COMMANDS)

    def __repr__(self) -> str:
        return f"OperatorKey({self.operator!r})"  # the secret stands in no log and no traceback


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a payload is not carried out. `reply_to` is empty where nobody is to be answered."""

    code: RefusalCode
    reason: str
    reply_to: str = ""
    by: str = ""
    """The operator, once the signature has proved it; before that nobody."""


def sign(command: CommandMessage, secret: bytes) -> bytes:
    """The payload that carries a command.

    Args:
        command: with times and nonce.
        secret: of the operator in `by`, 32 bytes or more.
    """
    return sign_content(command.model_dump(mode="json", exclude_defaults=True), secret)


def sign_content(content: Mapping[str, Any], secret: bytes) -> bytes:
    """The same of a JSON object, whatever stands in it."""
    return _canonical({**content, "signature": _digest(content, secret)})


def judge_command(
    payload: bytes, *, name: str, host: str, keys: Mapping[str, OperatorKey], now: Micros, seen: Mapping[str, Micros]
) -> CommandMessage | Refusal:
    """Whether a payload is a command that is to be carried out. Never raises for what stands in it.

    The signature is judged before anything else that the payload claims; until then nothing in it is believed.

    Args:
        payload: as it came.
        name: last level of the topic on which it came.
        host: name of this host.
        keys: by operator.
        now: the host's wall clock.
        seen: nonces of commands that were carried out (`nonce_id`), with the time until which they matter.
    """
    if len(payload) > MAX_COMMAND_BYTES:
        return Refusal("malformed", f"a command has at most {MAX_COMMAND_BYTES} bytes")
    try:
        content: Any = json.loads(payload)
    except (ValueError, RecursionError):
        return Refusal("malformed", "a command is one JSON object in UTF-8")
    if not isinstance(content, dict):
        return Refusal("malformed", "a command is one JSON object in UTF-8")
    signature = content.pop("signature", None)
    if not isinstance(signature, str) or not signature:
        return Refusal("unsigned", "commands are signed: send them with `dockwarden command`")
    claimed = content.get("by")
    key = keys.get(claimed) if isinstance(claimed, str) else None
    if key is None:
        return Refusal("unknown_operator", "no key of this name is known to the host")
    if not hmac.compare_digest(_digest(content, key.secret).encode(), signature.encode("utf-8", "surrogatepass")):
        return Refusal("bad_signature", "the signature is not of this key and content")
    try:
        command = CommandMessage.model_validate(content)
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors(include_input=False)[:5])
        reply_to = content.get("id") if content.get("host") == host else ""
        return Refusal(
            "malformed", faults, reply_to if isinstance(reply_to, str) and len(reply_to) <= MAX_ID else "", key.operator
        )
    return _judge_signed(command, key, name=name, host=host, now=now, seen=seen) or command


def nonce_id(command: CommandMessage) -> str:
    """Under this name a nonce is remembered: operators do not share a space of nonces, and its length is bounded."""
    return hashlib.sha256(f"{command.by}\n{command.nonce}".encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _judge_signed(
    command: CommandMessage, key: OperatorKey, *, name: str, host: str, now: Micros, seen: Mapping[str, Micros]
) -> Refusal | None:
    def refuse(code: RefusalCode, reason: str) -> Refusal:
        return Refusal(code, reason, reply_to=command.id, by=command.by)

    if command.host != host:
        return Refusal("wrong_host", f"the command is for host {command.host!r}", by=command.by)
    if command.name != name:
        return refuse("wrong_name", f"signed as {command.name!r}, sent as {name!r}")
    if command.expires_at - command.issued_at > MAX_LIFETIME:
        return refuse("malformed", f"a command is good for at most {MAX_LIFETIME // SECOND} s")
    if command.issued_at > now + MAX_CLOCK_DIFFERENCE:
        return refuse("not_yet", "the command was issued in the future: compare the clocks of both machines")
    if command.expires_at <= now:
        return refuse("expired", "the command has expired: send it anew, or compare the clocks of both machines")
    if nonce_id(command) in seen:
        return refuse("replayed", "this command has been carried out already")
    if command.name not in key.allow:
        return refuse("not_allowed", f"the key of {command.by} does not allow {command.name}")
    return None


def _canonical(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, ensure_ascii=True, separators=(",", ":"), sort_keys=True).encode()


def _digest(content: Mapping[str, Any], secret: bytes) -> str:
    return hmac.new(secret, _CONTEXT + _canonical(content), hashlib.sha256).hexdigest()
