"""What is said of an incident over time, on a clock that the test moves."""

from typing import Any

import pytest

from connectors.consumers.notes import Note, merge
from connectors.consumers.threads import FLAP_MEMORY_S, MAX_THREADS, Policy, Threads
from tests.unit.consumers.build import alert


def _kinds(notes: list[Note]) -> list[str]:
    return [note.kind for note in notes]


def _run(threads: Threads, until: float, start: float = 0.0) -> list[Note]:
    """Everything that is due, each at its moment."""
    notes: list[Note] = []
    now = start
    while (moment := threads.next_due) is not None and moment <= until:
        now = max(now, moment)
        notes += threads.due(now)
    return notes


def test_a_restart_loop_is_a_beginning_and_an_end() -> None:
    """Firing and resolved 18 times in 35 s: two messages, the end when it was quiet for long enough."""
    threads = Threads(Policy(settle_s=60))
    notes: list[Note] = []
    for number in range(18):
        notes += threads.take(alert(number, "firing" if number % 2 == 0 else "resolved"), number * 2.0)
        notes += threads.due(number * 2.0 + 1)
    notes += _run(threads, 5 * 3600.0)
    assert _kinds(notes) == ["first", "end"]
    assert notes[1].flaps == 8
    assert notes[1].at == 34.0 + 3600.0


@pytest.mark.parametrize("period", [20.0, 130.0, 700.0, 2000.0])
def test_a_loop_that_goes_on_all_day_says_little(period: float) -> None:
    """Whatever its period: the settling time grows until it covers the period."""
    threads = Threads(Policy(settle_s=60))
    notes: list[Note] = []
    seq, now = 0, 0.0
    while now < 24 * 3600:
        for status, moment in (("firing", now), ("resolved", now + period / 10)):
            notes += _run(threads, moment, now)
            seq += 1
            notes += threads.take(alert(seq, status), moment)  # type: ignore[arg-type]  # one of the two
        now += period
    assert len(notes) <= 16


def test_it_escalates_once_for_each_severity() -> None:
    """The same or a lesser severity says nothing more."""
    threads = Threads(Policy(settle_s=0))
    notes = [
        note
        for seq, severity in enumerate(("warning", "warning", "critical", "error", "critical"))
        for note in threads.take(alert(seq, severity=severity), seq * 1.0)
    ]
    assert [(note.kind, note.severity) for note in notes] == [("first", "warning"), ("escalation", "critical")]
    assert _kinds(threads.take(alert(9, "resolved", severity="critical"), 9.0)) == ["end"]


def test_an_incident_of_several_alerts_is_over_when_the_last_one_is() -> None:
    """One thread, told once; the number of alerts stands in the note."""
    threads = Threads(Policy(settle_s=0))

    def part(seq: int, key: str, status: str) -> list[Note]:
        one = alert(seq, status, key=key)  # type: ignore[arg-type]  # one of the two
        return threads.take(
            type(one)(**{name: getattr(one, name) for name in one.__slots__} | {"data": {**one.data, "incident_id": "i1"}}),
            seq * 1.0,
        )

    assert _kinds(part(1, "a", "firing")) == ["first"]
    assert part(2, "b", "firing") == []
    assert part(3, "a", "resolved") == []
    (end,) = part(4, "b", "resolved")
    assert (end.kind, end.total, end.thread) == ("end", 2, "incident/i1")


def test_updates_come_no_more_often_than_wanted() -> None:
    """For a receiver that can change what it shows."""
    threads = Threads(Policy(updates=True, update_s=10, settle_s=0))
    notes = threads.take(alert(0), 0.0)
    for second in range(1, 25):
        notes += threads.take(alert(second), float(second))
    notes += _run(threads, 100.0, 25.0)
    assert [(note.kind, note.at) for note in notes] == [("first", 0.0), ("update", 10.0), ("update", 20.0), ("update", 30.0)]


def test_quiet_hours_end_with_one_digest() -> None:
    """What fires and what came and went stand in it, the most severe first; from then on they are as told."""
    threads = Threads(Policy(settle_s=0))
    assert threads.take(alert(1, key="a", severity="warning"), 0.0, 100.0) == []
    assert threads.take(alert(2, key="b"), 1.0, 100.0) == []
    assert threads.take(alert(3, "resolved", key="a", severity="warning"), 2.0) == []
    assert threads.due(99.0) == []
    (digest,) = threads.due(100.0)
    assert (digest.kind, digest.firing, digest.total, digest.severity) == ("digest", 1, 2, "error")
    assert [line.split("]")[0] for line in digest.lines] == ["[ERROR", "[RESOLVED"]
    assert _kinds(threads.take(alert(4, "resolved", key="b"), 200.0)) == ["end"]


def test_a_single_alert_that_waited_is_told_as_itself() -> None:
    """A digest of one says less than the alert."""
    threads = Threads(Policy())
    threads.take(alert(1), 0.0, 100.0)
    assert _kinds(threads.due(100.0)) == ["first"]


def test_a_pager_gets_each_that_still_fires_and_no_digest() -> None:
    """What came and went in quiet hours wakes nobody afterwards."""
    threads = Threads(Policy(by_alert=True))
    for key in ("a", "b", "c"):
        threads.take(alert(1, key=key), 0.0, 100.0)
    threads.take(alert(2, "resolved", key="b"), 1.0)
    assert [(note.kind, note.thread) for note in threads.due(100.0)] == [
        ("first", "web-7/restart-loop/a"),
        ("first", "web-7/restart-loop/c"),
    ]


def test_what_becomes_severe_enough_is_told_in_quiet_hours() -> None:
    """A critical alert ends the wait of its incident; an escalation that waits is told when the wait ends."""
    threads = Threads(Policy())
    threads.take(alert(1, severity="warning"), 0.0, 100.0)
    assert _kinds(threads.take(alert(2, severity="critical"), 1.0, None)) == ["first"]
    assert threads.due(100.0) == []
    other = Threads(Policy())
    other.take(alert(1, severity="info"), 0.0)
    assert other.take(alert(2, severity="error"), 1.0, 100.0) == []
    assert _kinds(other.due(100.0)) == ["escalation"]


def test_a_test_alarm_is_told_at_once_and_is_no_thread() -> None:
    """It neither flaps nor waits, and its end is told to nobody."""
    threads = Threads(Policy())
    test = {"test": "true", "test_id": "t1"}
    assert _kinds(threads.take(alert(1, labels=test), 0.0, None)) == ["test"]
    assert threads.take(alert(2, "resolved", labels=test), 1.0) == []
    assert len(threads) == 0


def test_an_end_whose_beginning_was_never_received_says_nothing() -> None:
    """A consumer that starts where retained resolved alerts lie is silent about them."""
    assert Threads(Policy()).take(alert(1, "resolved"), 0.0) == []


def test_a_restart_goes_on_where_it_was() -> None:
    """Stored and loaded threads say the same as ones that never stopped."""
    policy: dict[str, Any] = {"settle_s": 60, "updates": True, "update_s": 5}
    before, after = Threads(Policy(**policy)), Threads(Policy(**policy))
    before.take(alert(1, key="a"), 0.0)
    before.take(alert(2, "resolved", key="a"), 1.0)
    before.take(alert(3, key="b"), 2.0, 500.0)
    stored = [(name, text) for name in before.changed if (text := before.stored(name)) is not None]
    after.load(stored)
    assert after.next_due == before.next_due
    assert _run(after, 1000.0) == _run(before, 1000.0)


def test_threads_are_forgotten_after_their_time_and_bounded_in_number() -> None:
    """Ended ones go when nobody would call it flapping any more; of too many the quietest ended one goes first."""
    threads = Threads(Policy(settle_s=0))
    threads.take(alert(1), 0.0)
    threads.take(alert(2, "resolved"), 1.0)
    threads.due(1.0 + FLAP_MEMORY_S)
    assert len(threads) == 0
    threads.take(alert(1, key="over"), 0.0)
    threads.take(alert(2, "resolved", key="over"), 1.0)
    for number in range(MAX_THREADS):
        threads.take(alert(1, key=f"k{number}"), 2.0 + number)
    assert len(threads) == MAX_THREADS
    assert "web-7/restart-loop/over" not in threads
    assert "web-7/restart-loop/k0" in threads


def _note(kind: Any, **fields: Any) -> Note:
    return Note(kind, "t", {"x": 1}, **fields)


@pytest.mark.parametrize(
    ("waiting", "new", "merged"),
    [
        ("first", "escalation", "first"),
        ("first", "update", "first"),
        ("first", "end", "end"),
        ("escalation", "update", "escalation"),
        ("escalation", "end", "end"),
        ("update", "update", "update"),
        ("update", "end", "end"),
        ("end", "first", None),
        ("test", "test", None),
        ("digest", "first", None),
        ("first", "digest", None),
    ],
)
def test_two_notes_that_wait_become_one(waiting: str, new: str, merged: str | None) -> None:
    """While a receiver is down its queue holds what it has to know, not how it came about."""
    one = merge(_note(waiting), _note(new))
    assert (None if one is None else one.kind) == merged


def test_an_end_that_waits_with_its_beginning_says_so() -> None:
    """And a new beginning takes the place of both: nothing of the first was told."""
    end = merge(_note("first"), _note("end"))
    assert end is not None
    assert end.unannounced
    again = merge(end, _note("first"))
    assert again is not None
    assert again.kind == "first"


def test_a_note_survives_as_text() -> None:
    """What is stored is what comes back."""
    note = Note("digest", "t", {}, severity="error", firing=1, total=2, lines=("a", "b"), at=1.5)
    assert Note.from_json(note.to_json()) == note
