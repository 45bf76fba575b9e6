import json
from datetime import UTC, datetime
from typing import Any

from engine.facts.timestamps import SECOND
from engine.messages.cloudevents import alert_event
from engine.messages.retained import Comparison, Difference
from engine.ports.broker import AlertVersion, KnownAlerts

HOUR = 3600 * SECOND
NOW = 1_763_657_512 * SECOND


def message(key: str, *, seq: int, status: Any = "firing", updated_at: int = NOW) -> tuple[str, bytes]:
    """A retained message of ours."""
    row = alert_event(
        host="h", rule="r", key=key, status=status, severity="warning", summary="s", starts_at=NOW, updated_at=updated_at, seq=seq
    )
    return row.topic, row.payload


def compared(*messages: tuple[str, bytes], complete: bool = True, everything: bool = False, settled: bool = True) -> Difference:
    """What follows when `a` (number 5) and `b` (published before a restart) are known, and nothing above 10 was published."""
    firing = {"dockwarden/h/alert/r/a": AlertVersion(5, NOW), "dockwarden/h/alert/r/b": AlertVersion(0, NOW)}
    comparison = Comparison(KnownAlerts(firing, last_seq=10, now=NOW), expiry=HOUR, everything=everything)
    for topic, payload in messages:
        comparison.add(topic, payload)
    return comparison.difference(complete=complete, settled=settled)


A, B = "dockwarden/h/alert/r/a", "dockwarden/h/alert/r/b"


def test_what_is_right_is_left_alone() -> None:
    """The newest messages, also newer ones than were known of."""
    assert not compared(message("a", seq=5), message("b", seq=2))
    assert not compared(message("a", seq=7), message("b", seq=9))
    assert not compared(message("a", seq=5), message("b", seq=2), message("new", seq=11))


def test_missing_older_and_resolved_ones_are_published_anew() -> None:
    """By number, or by time where the number is not known any more."""
    assert compared().republish == [A, B]
    assert compared(message("a", seq=4), message("b", seq=2, updated_at=NOW - 1)).republish == [A, B]
    assert compared(message("a", seq=6, status="resolved"), (B, b"junk")).republish == [A, B]
    assert compared(message("a", seq=5), (B, b"")).republish == [B]


def test_unknown_ones_are_resolved_and_old_ones_cleared() -> None:
    """Firing and unknown: resolved. Resolved long ago, or unreadable: cleared. Resolved lately: left."""
    right = (message("a", seq=5), message("b", seq=1))
    found = compared(*right, message("x", seq=3), message("y", seq=4, status="resolved"), ("dockwarden/h/alert/r/z", b"{"))
    assert [data.key for data in found.resolve.values()] == ["x"]
    assert found.clear == ["dockwarden/h/alert/r/z"]
    assert compared(*right, message("y", seq=4, status="resolved", updated_at=NOW - HOUR - 1)).clear == ["dockwarden/h/alert/r/y"]


def test_nothing_is_called_unknown_too_early_or_unseen() -> None:
    """Soon after a start, and when not everything could be read, only what is missing is published."""
    for found in compared(message("x", seq=3), settled=False), compared(message("x", seq=3), complete=False):
        assert found == Difference(republish=[A, B])


def test_on_demand_everything_is_published() -> None:
    """Whatever the broker has."""
    assert compared(message("a", seq=5), message("b", seq=2), everything=True).republish == [A, B]


def test_an_old_spelling_of_a_topic_is_cleared_and_not_resolved() -> None:
    """0.1 left spaces as they are: the same alert lives on under its new topic."""
    old = ("dockwarden/h/alert/r/a b", message("a b", seq=3)[1])
    assert compared(message("a", seq=5), message("b", seq=1), old) == Difference(clear=[old[0]])


def test_whatever_is_retained_raises_nothing() -> None:
    """Numbers, lists, times without a zone, deep nesting."""
    odd: list[Any] = [0, [], {}, {"data": []}, {"data": {"seq": "x", "status": 1, "updated_at": "2025-01-01T00:00:00"}}]
    odd += [{"data": {"status": "firing", "updated_at": datetime.now(UTC).isoformat()}}]
    payloads = [json.dumps(value).encode() for value in odd] + [b"[" * 100_000, b"\xff"]
    found = compared(*((f"dockwarden/h/alert/r/odd{number}", payload) for number, payload in enumerate(payloads)))
    assert len(found.clear) == len(payloads)
