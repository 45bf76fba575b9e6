"""Fills the small file system that holds a journal, then makes room. Argument: its folder. Prints what it saw as JSON."""

import json
import sys
from pathlib import Path

from engine.errors import JournalError
from engine.journal import Batch, Journal
from engine.ports.broker import OutboxRow
from engine.ports.clock import SystemClock

folder = Path(sys.argv[1])
told: dict[str, object] = {}
ballast = folder / "ballast"
ballast.write_bytes(b"x" * 1_000_000)

journal = Journal.open(folder / "journal.db", now=SystemClock().wall())
committed = 0
try:
    while True:
        journal.commit(Batch(core_puts={("fact", str(committed)): "x" * 10_000}))
        committed += 1
except JournalError as error:
    told["error"] = str(error)
told["core_before_error"] = committed
told["core_after_error"] = len(journal.load().core)

journal.close()
try:
    journal = Journal.open(folder / "journal.db", now=SystemClock().wall())
    told["open_on_a_full_disk"] = "opened"
except JournalError as error:
    told["open_on_a_full_disk"] = str(error)

ballast.unlink()
journal.commit(Batch(core_puts={("fact", "last"): "x" * 10_000}, outbox=[OutboxRow(topic="t", payload=b"", kind="alert")]))
journal.close()
with Journal.open(folder / "journal.db", now=SystemClock().wall()) as journal:
    state = journal.load()
    told["committed_when_there_was_room"] = ("fact", "last") in state.core
    told["outbox_rows"] = state.outbox_rows
    told["recovered"] = state.recovered
print(json.dumps(told))  # noqa: T201  the parent reads it
