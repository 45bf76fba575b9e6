"""connectors.sources.status: the `source` fact of a log."""

from datetime import UTC, datetime, timedelta

from connectors.sources.status import DAMAGE_PACE, GAP_SHOWN, SourceStatus

T0 = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


def test_nothing_known_nothing_told() -> None:
    """Before anything is known there is no fact."""
    assert SourceStatus("kernel").due(T0) is None


def test_each_change_is_told_once() -> None:
    """A state is emitted when it begins, with its time and reason, and not again."""
    health = SourceStatus("kernel")
    health.lose(T0, "gone; do this")
    emitted = health.due(T0)
    assert emitted is not None
    assert (emitted.name, emitted.status, emitted.error, emitted.since, emitted.lost) == (
        "kernel",
        "lost",
        "gone; do this",
        T0,
        0,
    )
    later = T0 + timedelta(seconds=10)
    health.lose(later, "gone; do this")
    assert health.due(later) is None
    health.ok(later)
    emitted = health.due(later)
    assert emitted is not None
    assert (emitted.status, emitted.error, emitted.since) == ("ok", None, later)


def test_gap_is_shown_for_a_while() -> None:
    """A gap stays the status although reading goes on, long enough to be seen; then it is ok, and the count stays."""
    health = SourceStatus("kernel")
    health.ok(T0)
    health.due(T0)
    health.gap(T0, "overwritten", 7)
    health.ok(T0)
    emitted = health.due(T0)
    assert emitted is not None
    assert (emitted.status, emitted.lost) == ("gap", 7)
    health.ok(T0 + GAP_SHOWN / 2)
    assert health.due(T0 + GAP_SHOWN / 2) is None
    health.ok(T0 + GAP_SHOWN)
    emitted = health.due(T0 + GAP_SHOWN)
    assert emitted is not None
    assert (emitted.status, emitted.lost) == ("ok", 7)


def test_second_gap_is_shown_as_long() -> None:
    """Another gap while one is shown begins its own time."""
    health = SourceStatus("kernel")
    health.gap(T0, "one")
    health.due(T0)
    second = T0 + GAP_SHOWN - timedelta(seconds=1)
    health.gap(second, "two")
    health.ok(T0 + GAP_SHOWN)
    assert health.status == "gap"
    emitted = health.due(T0 + GAP_SHOWN)
    assert emitted is not None
    assert (emitted.since, emitted.error, emitted.lost) == (second, "two", 2)


def test_flood_of_damage_is_few_facts() -> None:
    """Ten thousand broken lines within ten seconds are ten or so facts, and the last has the whole count."""
    health = SourceStatus("dockerd_log")
    health.ok(T0)
    emitted = [health.due(T0)]
    for number in range(10_000):
        at = T0 + timedelta(milliseconds=number)
        health.damage(at, "broken UTF-8")
        emitted.append(health.due(at))
    emitted.append(health.due(T0 + timedelta(seconds=10) + DAMAGE_PACE))
    facts = [fact for fact in emitted if fact is not None]
    assert 5 < len(facts) < 15
    assert facts[-1].lost == 10_000
    assert facts[-1].status == "ok"
    assert len({fact.fact_id for fact in facts}) == len(facts)


def test_damage_does_not_hide_a_loss() -> None:
    """Counting goes on while the source is lost, and the reason of the loss stays."""
    health = SourceStatus("kernel")
    health.lose(T0, "gone")
    health.damage(T0, "broken")
    emitted = health.due(T0)
    assert emitted is not None
    assert (emitted.status, emitted.error, emitted.lost) == ("lost", "gone", 1)


def test_long_error_is_cut() -> None:
    """An error that quotes a stranger is cut."""
    health = SourceStatus("kernel")
    health.lose(T0, "x" * 100_000)
    emitted = health.due(T0)
    assert emitted is not None
    assert len(emitted.error or "") == 1024
