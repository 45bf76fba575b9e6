"""What two sets of rules decide differently: added, removed, moved, changed, in bounded memory."""

from engine.facts.timestamps import SECOND
from engine.inference.decision import AlertDecision, AlertDetails
from engine.replay.comparison import Comparison


def _alert(at: int, *, rule: str = "r", key: str = "k", text: str = "", severity: str = "warning") -> AlertDecision:
    details = AlertDetails(severity, "", text, at, at, None, 1)  # type: ignore[arg-type]  # one of the severities
    return AlertDecision(at=at * SECOND, rule=rule, key=key, facts=(), activation=f"a{at}", status="firing", alert=details)


def test_a_decision_of_one_set_alone_is_added_or_removed() -> None:
    """What only the new rules decide is added, what only the old ones decide is removed."""
    comparison = Comparison()
    assert list(comparison.feed([_alert(1, key="a")], [_alert(1, key="b")])) == []
    assert [(it.what, it.shown.key) for it in comparison.rest()] == [("removed", "a"), ("added", "b")]


def test_the_same_decision_later_was_moved() -> None:
    """A decision that the other rules take at another time is one move, not one removed and one added."""
    comparison = Comparison()
    list(comparison.feed([_alert(1)], []))
    assert [it.what for it in comparison.feed([], [_alert(61)])] == ["moved"]
    assert list(comparison.rest()) == []


def test_what_is_decided_at_the_same_moment_is_never_a_move() -> None:
    """Old fires three times and new the last two of them: the first was removed, nothing moved."""
    comparison = Comparison()
    for at, sides in ((1, ([_alert(1)], [])), (2, ([_alert(2)], [_alert(2)])), (3, ([_alert(3)], [_alert(3)]))):
        assert list(comparison.feed(*sides)) == [], at
    assert [(it.what, it.shown.at) for it in comparison.rest()] == [("removed", SECOND)]
    assert comparison.same == 2


def test_the_same_alert_hours_later_is_another_problem() -> None:
    """Beyond an hour the one is removed and the other added."""
    comparison = Comparison()
    list(comparison.feed([_alert(1)], []))
    found = [*comparison.feed([], [_alert(3603)]), *comparison.rest()]
    assert [it.what for it in found] == ["removed", "added"]


def test_another_severity_at_the_same_moment_is_a_change() -> None:
    """The same alert with another severity or text is said to be changed."""
    comparison = Comparison()
    found = [*comparison.feed([_alert(1)], [_alert(1, severity="critical")]), *comparison.rest()]
    assert [it.what for it in found] == ["changed"]


def test_differences_without_end_are_held_within_a_bound() -> None:
    """A thousand differences in one moment with room for ten: nine hundred and ninety are told at once, none is lost."""
    comparison = Comparison(pending=10)
    given = sum(len(list(comparison.feed([_alert(1, key=str(n))], []))) for n in range(1000))
    assert (given, len(comparison), comparison.cut_short) == (990, 10, 990)
    assert len(list(comparison.rest())) == 10
    assert comparison._open == {}
    assert comparison.counts["removed"] == 1000
