"""What waits in memory while the journal cannot be written, and what of it goes when it becomes too much. Pure functions."""

from collections import Counter

from engine.journal.records import Batch
from engine.ports.broker import OutboxRow

BACKLOG_ROWS = 2_000
"""Messages that wait in memory while the journal cannot be written."""

BACKLOG_AUDIT = 10_000
"""Audit entries that wait meanwhile; beyond that the oldest go."""


def add_to_backlog(backlog: Batch, batch: Batch) -> None:
    """Add a later batch. A message that was published from memory is in no file, and need not be deleted there."""
    published = set(batch.outbox_done)
    in_memory = {row.seq for row in backlog.outbox}
    backlog.outbox = [row for row in backlog.outbox if row.seq not in published]
    batch.outbox_done = [seq for seq in batch.outbox_done if seq not in in_memory]
    backlog.extend(batch)


def shrink_backlog(backlog: Batch) -> Counter[str]:
    """Keep within the bounds; the messages that were lost, by kind."""
    going = _surplus(backlog.outbox, len(backlog.outbox) - BACKLOG_ROWS)
    if going:
        numbers = {row.seq for row in going}
        backlog.outbox = [row for row in backlog.outbox if row.seq not in numbers]
    del backlog.audit[: max(0, len(backlog.audit) - BACKLOG_AUDIT)]
    return Counter(row.kind for row in going)


def _surplus(rows: list[OutboxRow], number: int) -> list[OutboxRow]:
    """So many rows to let go, in the order of the journal's outbox (`engine.journal.outbox.shrink`).

    Oldest first of each: what is no alert, alerts that a newer one of the same topic overtook, resolved ones, firing ones.
    """
    if number <= 0:
        return []
    newest = {row.topic: row.seq for row in rows}
    alerts = [row for row in rows if row.kind in ("alert", "resolved")]
    ranked = [
        *(row for row in rows if row.kind not in ("alert", "resolved")),
        *(row for row in alerts if row.seq != newest[row.topic]),
        *(row for row in alerts if row.seq == newest[row.topic] and row.kind == "resolved"),
        *(row for row in alerts if row.seq == newest[row.topic] and row.kind == "alert"),
    ]
    return ranked[:number]
