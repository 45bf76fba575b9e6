"""Commands of operators, from the broker: parsed here, and carried out here where they touch files; the loop does the rest.

A command is a JSON object; `id` names the reply. Whoever may publish below command/ commands this host: it is off by default.
"""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from engine.errors import DockwardenError
from engine.pipeline.intake import Intake, OperatorCommand

MAX_COMMAND = 64 * 1024
"""Bytes of a command: more is none."""

MAX_ID = 128
"""Characters of the id that names a reply."""


class Command(BaseModel):
    """What a command may say. Which fields it needs depends on its name."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str = Field(default="", max_length=MAX_ID, description="Names the reply; without it there is none.")
    rule: str = Field(default="", max_length=256)
    key: str | None = Field(default=None, max_length=4096)
    seconds: float = Field(default=3600.0, gt=0, le=30 * 86_400, description="How long a silence lasts.")
    container: str = Field(default="", max_length=256)
    by: str = Field(default="", max_length=128, description="Who commands, for the audit.")


class FreezeFile:
    """While this file is there, all actions are stopped: `touch FILE` works when nothing else does."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def is_set(self) -> bool:
        """Whether it is there."""
        return self.path.exists()

    def set(self) -> None:
        """Freeze."""
        self.path.touch(mode=0o600)

    def clear(self) -> None:
        """Unfreeze."""
        self.path.unlink(missing_ok=True)


class Commands:
    """Takes commands in. Files are read and written in a thread, so that neither the loop nor the broker waits for a disk."""

    def __init__(self, intake: Intake, freeze: FreezeFile, explain: Callable[[str, str | None], dict[str, Any]]) -> None:
        self._intake = intake
        self._freeze = freeze
        self._explain = explain

    async def receive(self, name: str, payload: bytes) -> None:
        """Hand a command to the loop, which answers it. Never raises for what stands in it."""
        await self._intake.put(await self.prepare(name, payload))

    async def prepare(self, name: str, payload: bytes) -> OperatorCommand:
        """A command for the loop, with its reply if nothing is left to do there."""
        if len(payload) > MAX_COMMAND:
            return _malformed(name, "", f"a command has at most {MAX_COMMAND} bytes")
        try:
            command = Command.model_validate_json(payload or b"{}")
        except ValidationError as error:
            faults = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors(include_input=False))
            return _malformed(name, _id_of(payload), faults)
        try:
            done = await asyncio.to_thread(self._do, name, command)
            reply = None if done is None else {"ok": True, **done}
        except (OSError, DockwardenError) as error:
            reply = {"ok": False, "error": str(error)}
        return OperatorCommand(
            name,
            **command.model_dump(),
            detail=json.loads(command.model_dump_json(exclude_defaults=True)),
            reply=reply,
        )

    def _do(self, name: str, command: Command) -> dict[str, Any] | None:
        match name:
            case "freeze":
                self._freeze.set()
                return {"frozen": True}
            case "unfreeze":
                self._freeze.clear()
                return {"frozen": False}
            case "explain":
                return self._explain(command.rule, command.key)
        return None


def _malformed(name: str, reply_to: str, error: str) -> OperatorCommand:
    return OperatorCommand(name, id=reply_to, reply={"ok": False, "error": error}, audited=False)


def _id_of(payload: bytes) -> str:
    """The id that a faulty command gives, so that who sent it hears of the fault; empty when there is none."""
    try:
        command = json.loads(payload)
    except (ValueError, RecursionError):
        return ""
    named = command.get("id") if isinstance(command, dict) else None
    return named if isinstance(named, str) and len(named) <= MAX_ID else ""
