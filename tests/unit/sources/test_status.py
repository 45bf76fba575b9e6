"""connectors.sources.status: the `source` fact of a log."""

from datetime import UTC, datetime, timedelta

from connectors.sources.status import DAMAGE_PACE, GAP_SHOWN, SourceStatus

T0 = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


def test_nothing_known_nothing_told() -> None:
    """Before anything is known there is no fact."""
    assert SourceStatus("kernel").due(T0) is None


def test_each_change_is_told_once() -> None:
    """A state is told when it begins, with its time and reason, and not again."""
    health = SourceStatus("kernel")
    health.lose(T0, "gone; do this")
    told = health.due(T0)
    assert told is not None
    assert (told.name, told.status, told.error, told.since, told.lost) == ("kernel", "lost", "gone; do this", T0, 0)
    later = T0 + timedelta(seconds=10)
    health.lose(later, "gone; do this")
    assert health.due(later) is None
    health.ok(later)
    told = health.due(later)
    assert told is not None
    assert (told.status, told.error, told.since) == ("ok", None, later)


def test_gap_is_shown_for_a_while() -> None:
    """A gap stays the status although reading goes on, long enough to be seen; then it is ok, and the count stays."""
    health = SourceStatus("kernel")
    health.ok(T0)
    health.due(T0)
    health.gap(T0, "overwritten", 7)
    health.ok(T0)
    told = health.due(T0)
    assert told is not None
    assert (told.status, told.lost) == ("gap", 7)
    health.ok(T0 + GAP_SHOWN / 2)
    assert health.due(T0 + GAP_SHOWN / 2) is None
    health.ok(T0 + GAP_SHOWN)
    told = health.due(T0 + GAP_SHOWN)
    assert told is not None
    assert (told.status, told.lost) == ("ok", 7)


def test_second_gap_is_shown_as_long() -> None:
    """Another gap while one is shown begins its own time."""
    health = SourceStatus("kernel")
    health.gap(T0, "one")
    health.due(T0)
    second = T0 + GAP_SHOWN - timedelta(seconds=1)
    health.gap(second, "two")
    health.ok(T0 + GAP_SHOWN)
    assert health.status == "gap"
    told = health.due(T0 + GAP_SHOWN)
    assert told is not None
    assert (told.since, told.error, told.lost) == (second, "two", 2)


def test_flood_of_damage_is_few_facts() -> None:
    """Ten thousand broken lines within ten seconds are ten or so facts, and the last has the whole count."""
    health = SourceStatus("dockerd_log")
    health.ok(T0)
    told = [health.due(T0)]
    for number in range(10_000):
        at = T0 + timedelta(milliseconds=number)
        health.damage(at, "broken UTF-8")
        told.append(health.due(at))
    told.append(health.due(T0 + timedelta(seconds=10) + DAMAGE_PACE))
    facts = [fact for fact in told if fact is not None]
    assert 5 < len(facts) < 15
    assert facts[-1].lost == 10_000
    assert facts[-1].status == "ok"
    assert len({fact.fact_id for fact in facts}) == len(facts)


def test_damage_does_not_hide_a_loss() -> None:
    """Counting goes on while the source is lost, and the reason of the loss stays."""
    health = SourceStatus("kernel")
    health.lose(T0, "gone")
    health.damage(T0, "broken")
    told = health.due(T0)
    assert told is not None
    assert (told.status, told.error, told.lost) == ("lost", "gone", 1)


def test_long_error_is_cut() -> None:
    """An error that quotes a stranger is cut."""
    health = SourceStatus("kernel")
    health.lose(T0, "x" * 100_000)
    told = health.due(T0)
    assert told is not None
    assert len(told.error or "") == 1024
