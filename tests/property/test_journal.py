"""Random batches, cut by restarts, against a model in plain dictionaries."""

import tempfile
from collections import Counter
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from engine.journal import AuditRow, Batch, Bounds, Journal
from engine.ports.broker import OutboxRow, RowKind

BOUNDS = Bounds(outbox_rows=6, outbox_bytes=60, audit_rows=8)
KINDS: tuple[RowKind, ...] = ("alert", "resolved", "action", "fact")

texts = st.text(st.characters(exclude_categories=()), max_size=3)
names = st.sampled_from(["a", "b", "\ud800", ""])
core_keys = st.tuples(names, names)
rows = st.builds(
    OutboxRow,
    topic=st.sampled_from(["t", "u", "v"]),
    payload=st.binary(max_size=12),
    kind=st.sampled_from(KINDS),
    retain=st.booleans(),
    expiry_s=st.none() | st.integers(0, 9),
)
audit_rows = st.builds(AuditRow, at=st.integers(0, 200), kind=st.just("k"), verdict=st.just("done"))
batches = st.builds(
    Batch,
    cursors=st.dictionaries(names, texts, max_size=2),
    core_puts=st.dictionaries(core_keys, texts, max_size=3),
    core_deletes=st.sets(core_keys, max_size=3),
    retries_puts=st.dictionaries(names, texts, max_size=2),
    retries_deletes=st.sets(names, max_size=2),
    outbox=st.lists(rows, max_size=5),
    outbox_done=st.lists(st.integers(1001, 1040), max_size=4),
    audit=st.lists(audit_rows, max_size=4),
    memory=st.dictionaries(names, texts, max_size=2),
    durable=st.booleans(),
)


class Model:
    """What a journal is, without a disk."""

    def __init__(self) -> None:
        self.cursors: dict[str, str] = {}
        self.core: dict[tuple[str, str], str] = {}
        self.retries: dict[str, str] = {}
        self.memory: dict[str, str] = {}
        self.outbox: list[tuple[int, OutboxRow]] = []
        self.audit: list[tuple[int, int]] = []
        self.entries = 0
        self.lost: Counter[str] = Counter()
        self.seq = 1000

    def commit(self, batch: Batch) -> None:
        """Do what the journal's commit does, in the most obvious way."""
        self.cursors |= batch.cursors
        self.memory |= batch.memory
        self.core = {key: text for key, text in self.core.items() if key not in batch.core_deletes} | batch.core_puts
        self.retries = {key: text for key, text in self.retries.items() if key not in batch.retries_deletes} | batch.retries_puts
        self.outbox = [(seq, row) for seq, row in self.outbox if seq not in batch.outbox_done]
        for row in batch.outbox:
            self.seq += 1
            self.outbox.append((self.seq, row))
        while len(self.outbox) > 6 or sum(len(row.payload) + len(row.topic) for _, row in self.outbox) > 60:
            gone = min(self.outbox, key=self._when_it_goes)
            self.outbox.remove(gone)
            self.lost[gone[1].kind] += 1
        for entry in batch.audit:
            self.entries += 1
            self.audit.append((self.entries, entry.at))
        self.audit = [(number, at) for number, at in self.audit if number > self.entries - 8]

    def _when_it_goes(self, item: tuple[int, OutboxRow]) -> tuple[int, int]:
        seq, row = item
        if row.kind not in {"alert", "resolved"}:
            return 0, seq
        if any(other.topic == row.topic and number > seq for number, other in self.outbox):
            return 1, seq
        return (2 if row.kind == "resolved" else 3), seq


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(batches, st.booleans()), max_size=8))
def test_random_batches_then_opened_again_give_the_same_state(steps: list[tuple[Batch, bool]]) -> None:
    """Whatever was committed, and wherever it was closed and opened, the journal holds what the model holds."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "journal.db"
        journal = Journal.open(path, bounds=BOUNDS, now=1_000_000)
        model = Model()
        for batch, reopen in steps:
            before = Counter(model.lost)
            model.commit(batch)
            assert journal.commit(batch).lost == model.lost - before
            if reopen:
                journal.close()
                journal = Journal.open(path, bounds=BOUNDS, now=1_000_000)
            state = journal.load()
            assert (state.cursors, state.core, state.retries, state.memory) == (
                model.cursors,
                model.core,
                model.retries,
                model.memory,
            )
            assert [(row.seq, row.topic, row.payload, row.kind, row.retain, row.expiry_s) for row in journal.outbox(100)] == [
                (seq, row.topic, row.payload, row.kind, row.retain, row.expiry_s) for seq, row in model.outbox
            ]
            assert (state.outbox_rows, state.last_seq, state.lost) == (len(model.outbox), model.seq, model.lost)
            assert journal.depth == (len(model.outbox), sum(len(row.payload) + len(row.topic) for _, row in model.outbox))
            assert [entry.at for entry in journal.audit()] == [at for _, at in model.audit]
        journal.close()
