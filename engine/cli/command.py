"""`dockwarden command` and `dockwarden operator-key`: sign a command and send it; make a key."""

import asyncio
import json
import os
import secrets
import time
from pathlib import Path

from engine.errors import DockwardenError
from engine.facts.timestamps import SECOND
from engine.messages.commands import COMMANDS, MIN_KEY_BYTES, CommandMessage, CommandParams, sign
from engine.settings import load_settings
from engine.sidecar.command_keys import SUFFIX, new_key_text, read_command_key
from engine.sidecar.composition import send_command

LIFETIME_S = 60
"""A command is good for so long: enough for a slow broker, too short to be of use to whoever records it."""


def give_command(
    name: str, *, host: str | None, key_file: Path, config: Path | None, url: str | None, state: Path | None, timeout_s: float,
    params: dict[str, object],
) -> int:  # fmt: skip
    """Sign, send, print the reply; 0 when it was carried out, 1 when it was refused.

    Raises:
        DockwardenError: key, settings or broker cannot be used, or nobody answered.
    """
    over: dict[str, object] = {}
    if url is not None:
        over["mqtt_url"] = url
    if state is not None:
        over["state"] = state
    settings = load_settings(config, over)
    key = read_command_key(key_file)
    now = time.time_ns() // 1000
    try:
        command = CommandMessage.model_validate(
            {
                "id": secrets.token_hex(8),
                "host": host or settings.host,
                "name": name,
                "by": key.operator,
                "issued_at": now,
                "expires_at": now + LIFETIME_S * SECOND,
                "nonce": secrets.token_hex(16),
                "params": CommandParams.model_validate(params),
            }
        )
    except ValueError as error:
        raise DockwardenError(f"{name}: not a command: {error}") from error
    reply = asyncio.run(send_command(settings, command, sign(command, key.secret), timeout_s=timeout_s))
    print(json.dumps(reply, indent=2))
    return 0 if reply.get("ok") else 1


def make_key(file: Path, allow: list[str]) -> int:
    """Write a new key file that only its owner may read.

    Raises:
        DockwardenError: it is there already, cannot be written, or allows what is no command.
    """
    unknown = sorted(set(allow) - set(COMMANDS))
    if unknown:
        raise DockwardenError(f"unknown command {', '.join(unknown)}: {', '.join(COMMANDS)} are")
    if file.suffix != SUFFIX:
        raise DockwardenError(f"{file}: a key file is called OPERATOR{SUFFIX}; the operator's name stands in the audit")
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise DockwardenError(f"{file}: cannot be made: {error.strerror}") from error
    with os.fdopen(descriptor, "w") as opened:
        opened.write(new_key_text(secrets.token_bytes(MIN_KEY_BYTES), allow))
    print(
        f"{file}: key of operator {file.stem}. Copy it to the hosts' folder of keys (mqtt.command_keys), mode 0600, owner root."
    )
    return 0
