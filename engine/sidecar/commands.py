"""Commands of operators, from the broker: proved, carried out here where they touch files; the loop does the rest and answers.

Off by default. Unsigned ones are refused always; the protocol stands in `engine.messages.commands`.
"""

import asyncio
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import structlog

from engine.action_catalog import ACTIONS
from engine.errors import CommandKeyError, DockwardenError
from engine.facts.timestamps import SECOND
from engine.messages.commands import CommandMessage, OperatorKey, Refusal
from engine.pipeline.intake import Intake, OperatorCommand
from engine.ports.clock import Clock
from engine.sidecar.command_gate import MEMORY, CommandGate
from engine.sidecar.command_keys import read_command_keys
from engine.sidecar.freeze import Freeze

_log = structlog.get_logger(__name__)

FILES_S: Final = 5.0
"""Reading keys, freezing and explaining touch files; a disk that hangs for longer ends the command with an error."""


class Commands:
    """Takes commands in. Files are read and written in a thread, so that neither the loop nor the broker waits for a disk."""

    def __init__(
        self,
        intake: Intake,
        freeze: Freeze,
        explain: Callable[[str, str | None], dict[str, Any]],
        *,
        host: str,
        keys: Path,
        clock: Clock,
        remembered: str | None = None,
    ) -> None:
        """Make one.

        Args:
            intake: of the loop.
            freeze: the emergency stop.
            explain: what led to an alert, by rule and key.
            host: name of this host; commands for others are refused.
            keys: folder of the operators' keys.
            clock: the time.
            remembered: what the journal has under `command_nonces`.
        """
        self._intake = intake
        self._freeze = freeze
        self._explain = explain
        self._host = host
        self._keys = keys
        self._clock = clock
        self.gate = CommandGate()
        self.gate.restore(remembered)

    async def receive(self, name: str, payload: bytes) -> None:
        """Hand a command to the loop, which answers it. Never raises for what stands in it."""
        keys = await self._read_keys()
        judged = self.gate.admit(
            payload,
            name=name,
            host=self._host,
            keys=keys,
            now=self._clock.wall(),
            monotonic=round(self._clock.monotonic() * SECOND),
        )
        if isinstance(judged, Refusal):
            _log.warning("command_refused", command=name[:64], code=judged.code, by=judged.by)
            if judged.code != "rate_limited":
                await self._intake.put(_refused(name, judged))
            return
        reply = await self._files(judged)
        params = judged.params
        await self._intake.put(
            OperatorCommand(
                judged.name,
                id=judged.id,
                rule=params.rule,
                key=params.key,
                seconds=params.seconds,
                container=params.container,
                by=judged.by,
                detail=json.loads(judged.model_dump_json(exclude_defaults=True)),
                reply=reply,
                memory={MEMORY: self.gate.to_json()},
            )
        )

    async def _read_keys(self) -> Mapping[str, OperatorKey]:
        try:
            async with asyncio.timeout(FILES_S):
                keys, problems = await asyncio.to_thread(read_command_keys, self._keys)
        except (CommandKeyError, TimeoutError) as error:
            _log.error("command_keys_unusable", error=str(error) or "the disk does not answer")
            return {}
        for problem in problems:
            _log.warning("command_key_unusable", error=problem)
        return keys

    async def _files(self, command: CommandMessage) -> dict[str, Any] | None:
        """What is done outside the loop; None when it is the loop's to do."""
        action = command.params.action
        if action and action not in ACTIONS:
            return {"ok": False, "error": f"unknown action `{action[:64]}`"}
        if command.name == "freeze" and not action:
            # The stop comes first, whatever the disk does.
            self._freeze.stop_now()
        try:
            async with asyncio.timeout(FILES_S):
                return await asyncio.to_thread(self._do, command)
        except TimeoutError:
            if command.name == "freeze":
                return {"ok": True, "frozen": True, "note": "in memory only, until the process ends: the disk does not answer"}
            return {"ok": False, "error": f"the disk does not answer within {FILES_S:g} s"}
        except (OSError, DockwardenError) as error:
            return {"ok": False, "error": str(error)}

    def _do(self, command: CommandMessage) -> dict[str, Any] | None:
        params = command.params
        match command.name:
            case "freeze":
                note = self._freeze.set(params.action)
                return {"ok": True, "frozen": params.action or True, **({"note": note} if note else {})}
            case "unfreeze":
                self._freeze.clear(params.action)
                return {"ok": True, "frozen": False}
            case "explain":
                return {"ok": True, **self._explain(params.rule, params.key)}
        return None


def _refused(name: str, refusal: Refusal) -> OperatorCommand:
    return OperatorCommand(
        name[:64],
        id=refusal.reply_to,
        by=refusal.by,
        detail={"code": refusal.code, "reason": refusal.reason[:500]},
        reply={"ok": False, "error": refusal.reason, "code": refusal.code},
    )
