"""Commands of operators, from the broker or from the status socket: freeze, unfreeze, ack, silence, retry-now, explain.

A command is a JSON object; `id` names the reply. Whoever may publish below command/ commands this host: it is off by default.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import structlog
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from engine.errors import DockwardenError
from engine.facts.timestamps import SECOND
from engine.journal.records import AuditRow
from engine.pipeline.loop import Sidecar, wall_clock

_log = structlog.get_logger(__name__)

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

    def __call__(self) -> bool:
        """Whether it is there."""
        return self.path.exists()

    def put(self) -> None:
        """Freeze."""
        self.path.touch(mode=0o600)

    def take_away(self) -> None:
        """Unfreeze."""
        self.path.unlink(missing_ok=True)


class Commands:
    """Carries commands out. Runs in the loop's own task."""

    def __init__(self, sidecar: Sidecar, freeze: FreezeFile, explain: Callable[[str, str | None], dict[str, Any]]) -> None:
        self._sidecar = sidecar
        self._freeze = freeze
        self._explain = explain

    def run(self, name: str, payload: bytes) -> tuple[str, dict[str, Any]]:
        """Do what a command says; the id of its reply and the reply. Never raises for what stands in a command."""
        if len(payload) > MAX_COMMAND:
            return "", {"ok": False, "error": f"a command has at most {MAX_COMMAND} bytes"}
        try:
            command = Command.model_validate_json(payload or b"{}")
        except ValidationError as error:
            faults = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors(include_input=False))
            return _id_of(payload), {"ok": False, "error": faults}
        try:
            reply = {"ok": True, **self._do(name, command)}
        except (ValueError, OSError, DockwardenError) as error:
            reply = {"ok": False, "error": str(error)}
        verdict = "done" if reply["ok"] else "refused"
        _log.warning("command", action="command", command=name, by=command.by, verdict=verdict)
        detail = json.loads(command.model_dump_json(exclude_defaults=True))
        self._sidecar.note(AuditRow(wall_clock(), "command", verdict, rule=command.rule, action=name, detail=detail))
        return command.id, reply

    def _do(self, name: str, command: Command) -> dict[str, Any]:
        match name:
            case "freeze":
                self._freeze.put()
                return {"frozen": True}
            case "unfreeze":
                self._freeze.take_away()
                return {"frozen": False}
            case "ack":
                return self._ack(command)
            case "silence":
                return self._silence(command)
            case "retry-now":
                return self._retry_now(command)
            case "explain":
                return self._explain(command.rule, command.key)
        msg = f"there is no command {name!r}: freeze, unfreeze, ack, silence, retry-now and explain are"
        raise ValueError(msg)

    def _ack(self, command: Command) -> dict[str, Any]:
        self._sidecar.alerting.acknowledge(command.rule, command.key or "", command.by or "an operator")
        return {"acknowledged": True}

    def _silence(self, command: Command) -> dict[str, Any]:
        if not any(rule.id == command.rule for rule in self._sidecar.core.ruleset.rules):
            msg = f"there is no rule {command.rule!r}"
            raise ValueError(msg)
        self._sidecar.alerting.silence(command.rule, command.key, round(command.seconds * SECOND), command.by)
        return {"silenced_s": command.seconds}

    def _retry_now(self, command: Command) -> dict[str, Any]:
        executor = self._sidecar.repairs.executor
        hurried = executor.hurry(command.container, but_not="") if executor is not None else []
        return {"jobs": len(hurried)}


def _id_of(payload: bytes) -> str:
    """The id that a faulty command gives, so that who sent it hears of the fault; empty when there is none."""
    try:
        command = json.loads(payload)
    except (ValueError, RecursionError):
        return ""
    named = command.get("id") if isinstance(command, dict) else None
    return named if isinstance(named, str) and len(named) <= MAX_ID else ""
