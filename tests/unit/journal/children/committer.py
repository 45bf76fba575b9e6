"""Commits batches without end, and prints the number of each when it is committed. Argument: the journal."""

import sys
from pathlib import Path

from engine.journal import AuditRow, Batch, Journal
from engine.ports.broker import OutboxRow
from engine.ports.clock import SystemClock

with Journal.open(Path(sys.argv[1]), now=SystemClock().wall()) as journal:
    number = int(journal.load().cursors.get("source", "-1")) + 1
    while True:
        batch = Batch(
            cursors={"source": str(number)},
            outbox=[OutboxRow(topic="t", payload=b"%d" % number, kind="alert")],
            audit=[AuditRow(at=number, kind="test", verdict="done")],
        )
        batch.put_core(("section", str(number % 7)), str(number))
        journal.commit(batch)
        print(number, flush=True)  # noqa: T201  the parent reads it
        number += 1
