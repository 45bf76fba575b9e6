from collections import Counter
from pathlib import Path

import pytest

from engine.journal import AuditQuery, AuditRow, Batch, Bounds, Journal
from engine.ports.broker import OutboxRow, RowKind
from tests.clocks import SYSTEM


def row(kind: RowKind, topic: str, size: int = 10) -> OutboxRow:
    """A row of exactly so many bytes."""
    return OutboxRow(topic=topic, payload=b"x" * (size - len(topic)), kind=kind)


def topics(journal: Journal) -> list[str]:
    """Topics of what waits, oldest first."""
    return [found.topic for found in journal.outbox(1000)]


def open_with(path: Path, rows: int = 10_000, size: int = 1_000_000) -> Journal:
    """A journal with these bounds of its outbox."""
    return Journal.open(path, bounds=Bounds(outbox_rows=rows, outbox_bytes=size), now=1_000_000)


def test_what_is_no_alert_goes_first_and_oldest_first(path: Path) -> None:
    """Above the bound facts and outcomes go, the oldest of them, and alerts stay."""
    with open_with(path, rows=3) as journal:
        lost = journal.commit(
            Batch(outbox=[row("alert", "a1"), row("action", "x1"), row("fact", "f1"), row("resolved", "a2"), row("action", "x2")])
        ).lost
        assert topics(journal) == ["a1", "a2", "x2"]
        assert lost == Counter(action=1, fact=1)


def test_then_alerts_that_a_newer_one_of_the_topic_overtook(path: Path) -> None:
    """Of a flapping alert the newest is kept, so that nobody is left with the wrong end of it."""
    with open_with(path, rows=3) as journal:
        journal.commit(Batch(outbox=[row("alert", "a"), row("resolved", "a"), row("alert", "b")]))
        assert journal.commit(Batch(outbox=[row("alert", "c")])).lost == Counter(alert=1)
        assert [(found.topic, found.kind) for found in journal.outbox(10)] == [("a", "resolved"), ("b", "alert"), ("c", "alert")]


def test_then_resolved_ones_and_firing_ones_last(path: Path) -> None:
    """A firing alert goes only when nothing but firing alerts is left."""
    with open_with(path, rows=2) as journal:
        journal.commit(Batch(outbox=[row("alert", "a"), row("resolved", "b")]))
        assert journal.commit(Batch(outbox=[row("alert", "c")])).lost == Counter(resolved=1)
        assert journal.commit(Batch(outbox=[row("alert", "d")])).lost == Counter(alert=1)
        assert topics(journal) == ["c", "d"]


def test_bytes_are_bounded_too(path: Path) -> None:
    """Topics and payloads together stay within the bound, and a row larger than all of it does not stay."""
    with open_with(path, size=100) as journal:
        assert not journal.commit(Batch(outbox=[row("action", f"x{n}") for n in range(10)])).lost
        assert journal.depth == (10, 100)
        assert journal.commit(Batch(outbox=[row("alert", "a", size=15)])).lost == Counter(action=2)
        assert journal.depth == (9, 95)
        assert journal.commit(Batch(outbox=[row("alert", "huge", size=101)])).lost == Counter(action=8, alert=2)
        assert journal.depth == (0, 0)


def test_losses_are_counted_over_restarts(path: Path) -> None:
    """What was lost since the journal began is remembered, by kind."""
    with open_with(path, rows=1) as journal:
        journal.commit(Batch(outbox=[row("fact", "f"), row("fact", "f"), row("alert", "a")]))
    with open_with(path, rows=1) as journal:
        journal.commit(Batch(outbox=[row("fact", "f")]))
        assert journal.load().lost == Counter(fact=3)


def test_a_flood_keeps_within_the_bounds_and_in_order(path: Path) -> None:
    """10,000 rows into an outbox of 500: exactly 500 remain, the newest, in order; the depth is what the table says."""
    with open_with(path, rows=500) as journal:
        lost: Counter[str] = Counter()
        for first in range(0, 10_000, 1000):
            lost += journal.commit(Batch(outbox=[row("action", f"t{n}") for n in range(first, first + 1000)])).lost
        assert topics(journal) == [f"t{n}" for n in range(9_500, 10_000)]
        assert lost == Counter(action=9_500)
        assert journal.depth == (500, 5_000)


def test_outbox_is_read_in_pages(path: Path) -> None:
    """`after` and `limit` page through without a gap or an overlap."""
    with open_with(path) as journal:
        seqs = journal.commit(Batch(outbox=[row("alert", f"t{n}") for n in range(25)])).seqs
        read: list[int] = []
        while page := journal.outbox(10, after=read[-1] if read else 0):
            read += [found.seq for found in page]
        assert read == list(seqs)


def entry(at: int, *, rule: str = "", key: str = "", activation: str = "", action: str = "", target: str = "") -> AuditRow:
    """An audit entry."""
    return AuditRow(at=at, kind="action", verdict="done", rule=rule, key=key, activation=activation, action=action, target=target)


def test_audit_keeps_the_newest_rows(path: Path) -> None:
    """Never more than so many rows, whatever is added."""
    with Journal.open(path, bounds=Bounds(audit_rows=100), now=SYSTEM.wall()) as journal:
        for first in range(0, 1000, 70):
            journal.commit(Batch(audit=[entry(n) for n in range(first, first + 70)]))
            assert len(journal.audit()) <= 100
        assert [found.at for found in journal.audit()] == list(range(950, 1050))


def test_one_entry_from_a_wrong_clock_takes_no_other_away(path: Path) -> None:
    """At 0.1.0 one row dated a month ahead deleted five thousand others."""
    with Journal.open(path, now=SYSTEM.wall()) as journal:
        journal.commit(Batch(audit=[entry(0), entry(99), entry(10**18)]))
        assert [found.at for found in journal.audit()] == [0, 99, 10**18]


def test_the_file_is_bounded_whatever_containers_are_labelled(path: Path) -> None:
    """Two hundred labels of 4 KiB in each of five pieces of evidence were 822 KB an entry: 77 GiB in all."""
    labels = {f"l{number}": "x" * 4096 for number in range(200)}
    detail = {"job": "j1", "facts": ["f1"], "evidence": [{"fact": "container", "fact_id": "f1", "labels": labels}] * 5}
    bound = 4 * 1024 * 1024
    with Journal.open(path, bounds=Bounds(file_bytes=bound), now=SYSTEM.wall()) as journal:
        for first in range(0, 2_000, 100):
            rows = [AuditRow(at=first + n, kind="action", verdict="failed", detail=detail) for n in range(100)]
            journal.commit(Batch(audit=rows))
        kept = journal.audit(limit=5_000)
        assert len(kept) > 100
        assert kept[-1].at == 1_999
        assert kept[-1].detail["job"] == "j1"
        assert kept[-1].detail["cut"] is True
        assert kept[-1].detail["evidence"][0]["fact"] == "container"
    assert path.stat().st_size < 2 * bound


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (AuditQuery(), [1, 2, 3, 4]),
        (AuditQuery(rule="r1"), [1, 2]),
        (AuditQuery(rule="r1", key="k2"), [2]),
        (AuditQuery(activation="act"), [3]),
        (AuditQuery(target="c1"), [3, 4]),
        (AuditQuery(action="unmount"), [4]),
        (AuditQuery(since=2, until=3), [2, 3]),
        (AuditQuery(rule="none"), []),
    ],
)
def test_audit_answers_questions(path: Path, query: AuditQuery, expected: list[int]) -> None:
    """Every field of a query narrows it."""
    with Journal.open(path, now=SYSTEM.wall()) as journal:
        journal.commit(
            Batch(
                audit=[
                    entry(1, rule="r1", key="k1"),
                    entry(2, rule="r1", key="k2"),
                    entry(3, rule="r2", activation="act", target="c1"),
                    entry(4, action="unmount", target="c1"),
                ]
            )
        )
        assert [found.at for found in journal.audit(query)] == expected
        assert [found.at for found in journal.audit(query, limit=1)] == expected[-1:]
