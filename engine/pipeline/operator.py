"""Commands of operators, as the loop carries them out: acknowledge, silence, retry now. They are parsed by the sidecar."""

import json
from collections.abc import Mapping
from typing import Any

import structlog

from engine.facts.timestamps import SECOND
from engine.journal.records import AuditRow
from engine.messages.topics import reply_topic
from engine.pipeline.actions import Actions
from engine.pipeline.alerts import Alerts
from engine.pipeline.intake import OperatorCommand
from engine.pipeline.turn import Options, Turn
from engine.ports.broker import OutboxRow

_log = structlog.get_logger(__name__)


def carry_out(turn: Turn, command: OperatorCommand, *, options: Options, actions: Actions, alerts: Alerts) -> None:
    """Do what a command asks, write it to the audit, and answer it."""
    reply = command.reply if command.reply is not None else _result(turn, command, actions, alerts)
    verdict = "done" if reply["ok"] else "refused"
    _log.warning("operator_command", command=command.name, by=command.by, verdict=verdict)
    row = AuditRow(turn.now, "command", verdict, rule=command.rule, action=command.name, detail=command.detail)
    turn.batch.audit.append(row)
    turn.batch.memory.update(command.memory)
    if command.id:
        payload = json.dumps({"id": command.id, **reply}, default=str).encode()
        topic = reply_topic(options.host, command.id)
        turn.batch.outbox.append(OutboxRow(topic=topic, payload=payload, kind="reply", seq=turn.next_seq()))


def _result(turn: Turn, command: OperatorCommand, actions: Actions, alerts: Alerts) -> Mapping[str, Any]:
    try:
        return {"ok": True, **_do(turn, command, actions, alerts)}
    except ValueError as error:
        return {"ok": False, "error": str(error)}


def _do(turn: Turn, command: OperatorCommand, actions: Actions, alerts: Alerts) -> Mapping[str, Any]:
    match command.name:
        case "ack":
            alerts.acknowledge(turn, command.rule, command.key or "", command.by or "an operator")
            return {"acknowledged": True}
        case "silence":
            if not any(rule.id == command.rule for rule in turn.core.ruleset.rules):
                msg = f"there is no rule {command.rule!r}"
                raise ValueError(msg)
            alerts.silence(turn, command.rule, command.key, round(command.seconds * SECOND), command.by)
            return {"silenced_s": command.seconds}
        case "retry-now":
            return {"jobs": len(actions.run_now(turn, command.container))}
    msg = f"there is no command {command.name!r}: freeze, unfreeze, ack, silence, retry-now and explain are"
    raise ValueError(msg)
