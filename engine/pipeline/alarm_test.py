"""Test alarms: a message that goes the whole way of an alert and alarms nobody. Sans-I/O.

It is numbered, committed and published as every alert is, marked by its labels, and not retained: nothing of it stays. Consumers
hand it to every receiver of this host, marked TEST, and answer on `dockwarden/<host>/reply/<id>` once a receiver took it.
"""

from dataclasses import replace
from typing import Final, Literal

from engine.facts.timestamps import SECOND, Micros
from engine.journal.records import AuditRow
from engine.messages.cloudevents import alert_event
from engine.pipeline.intake import AlarmTest
from engine.pipeline.turn import Options, Turn
from engine.ports.broker import OutboxRow

RULE: Final = "alarm-test"
"""In place of a rule's id."""

MEMORY: Final = "alarm_test"
"""Under this name the journal keeps when the last one was sent, in microseconds."""

FIRST_AFTER: Final[Micros] = 60 * SECOND
"""A host that never sent one does so this long after its start."""


def publish_alarm_test(turn: Turn, test: AlarmTest, options: Options) -> None:
    """Put its two messages, beginning and end, into the outbox."""
    turn.batch.outbox += [_message(turn, test, options, status) for status in ("firing", "resolved")]
    turn.batch.memory[MEMORY] = str(turn.now)
    turn.batch.audit.append(AuditRow(turn.now, "alert", "test", rule=RULE, key=test.id))


def next_test(last: str | None, now: Micros, every: Micros) -> Micros:
    """When the next test alarm is due.

    Args:
        last: what the journal has under `MEMORY`.
        now: the present moment.
        every: between two of them.
    """
    if last is None or not last.isdecimal():
        return now + FIRST_AFTER
    # A clock that was set back must not put the next one off beyond its interval.
    return min(int(last), now) + every


def _message(turn: Turn, test: AlarmTest, options: Options, status: Literal["firing", "resolved"]) -> OutboxRow:
    row = alert_event(
        host=options.host,
        rule=RULE,
        key=test.id,
        status=status,
        severity="info",
        summary=f"TEST of the way that alarms of {options.host} go. Nothing is wrong, nothing is to be done.",
        starts_at=turn.now,
        updated_at=turn.now,
        labels={"test": "true", "test_id": test.id},
        annotations={"title": "Test alarm"},
        rules_version=turn.rules_version,
        seq=turn.next_seq(),
    )
    return replace(row, retain=False, expiry_s=None)
