"""Counts in sliding windows: the moment they begin to hold, the moment they cease, and what they tell."""

from tests.unit.inference.timeline import Timeline

STORM = """
  - rule: storm
    title: Storm
    severity: critical
    when:
      storm:
        count: {fact: container_event, action: create}
        by: [image]
        within: 1m
        at_least: 3
    key: "{storm.image}"
    then:
      - alert: "{storm.count} of {storm.image} in {storm.within}"
"""
LARGER = STORM.replace("rule: storm", "rule: larger").replace("at_least: 3", "at_least: 4").replace("within: 1m", "within: 2m")
STATES = """
  - rule: many
    title: Many
    severity: warning
    when:
      many:
        count: {fact: container, status: exited}
        by: [image]
        within: 1m
        at_least: 2
    then:
      - alert: "{many.count}"
"""


def test_it_holds_from_the_fact_that_makes_the_number_full() -> None:
    """Not one earlier, and not anew while it holds."""
    line = Timeline(STORM)
    assert line.event(0, "create", image="x") == line.event(1, "create", image="x") == []
    assert line.event(2, "create", image="x") == ["2s firing storm[x]: 3 of x in 1m"]
    assert line.event(3, "create", image="x") == []


def test_the_window_is_open_at_its_old_end() -> None:
    """A fact exactly one window ago has left: (at - within, at]."""
    line = Timeline(STORM)
    for seconds in (0, 30, 60):
        assert line.event(seconds, "create", image="x") == []
    assert line.event(60, "create", image="x") == ["60s firing storm[x]: 3 of x in 1m"]


def test_it_ceases_when_the_number_falls_by_time_alone() -> None:
    """No fact is needed for that, and the moment is exact."""
    line = Timeline(STORM)
    for seconds in (0, 10, 20):
        line.event(seconds, "create", image="x")
    assert line.until(59) == []
    assert line.until(60) == ["60s resolved storm[x]: 3 of x in 1m"]


def test_groups_are_counted_apart() -> None:
    """Two images, two each: no storm."""
    line = Timeline(STORM)
    assert [said for n in range(4) for said in line.event(n, "create", image="xy"[n % 2])] == []


def test_the_same_event_told_twice_counts_once() -> None:
    """An overlap after a reconnection is no storm."""
    line = Timeline(STORM)
    for seconds in (0, 1, 2):
        line.event(seconds, "create", image="x", fact_id="same")
    assert line.until(3) == []


def test_a_fact_that_comes_late_counts_at_its_own_time() -> None:
    """Out of order by seconds, as engines tell: the third is the third wherever it falls."""
    line = Timeline(STORM)
    line.event(10, "create", image="x")
    line.event(12, "create", image="x")
    assert line.event(11, "create", image="x") == ["12s firing storm[x]: 3 of x in 1m"]
    assert line.until(70) == ["70s resolved storm[x]: 3 of x in 1m"]


def test_two_rules_over_the_same_facts_share_a_window_and_keep_their_own_bounds() -> None:
    """Each is looked at when it can hold, and ceases in its own time."""
    line = Timeline(STORM, LARGER)
    said = [said for n in range(4) for said in line.event(n, "create", image="x")]
    assert said == ["2s firing storm[x]: 3 of x in 1m", "3s firing larger[x]: 4 of x in 2m"]
    assert len(line.core.windows) == 1
    assert [text.split(":")[0] for text in line.until(200)] == ["61s resolved storm[x]", "120s resolved larger[x]"]


def test_a_state_that_changes_back_counts_no_longer() -> None:
    """A container that was started again is not among the exited ones."""
    line = Timeline(STATES)
    line.box(0, "a", image="x", status="exited")
    assert line.box(1, "b", image="x", status="exited") == ["1s firing many: 2"]
    assert line.box(2, "a", image="x", status="running") == ["2s resolved many: 2"]


def test_a_state_told_again_counts_with_its_latest_time_and_fires_nothing_anew() -> None:
    """A list every minute keeps the count alive without a new alert each."""
    line = Timeline(STATES)
    said: list[str] = []
    for seconds in range(0, 300, 30):
        for ident in "ab":
            said += line.box(seconds, ident, image="x", status="exited")
    assert said == ["0s firing many: 2"]
    assert line.until(400) == ["330s resolved many: 2"]


def test_a_fallen_count_that_holds_again_is_the_same_alert_with_a_count() -> None:
    """A second storm of the same image, within the hour."""
    line = Timeline(STORM)
    for seconds in (0, 1, 2, 100, 101, 102):
        line.event(seconds, "create", image="x")
    state = line.core.alerts.states["storm", "x"]
    assert (state.firing, state.details["count"]) == (True, 2)


def test_what_has_left_is_forgotten() -> None:
    """A thousand groups that came and went take no memory, nor rows in the journal."""
    line = Timeline(STORM)
    for number in range(1000):
        line.event(0, "create", image=f"x{number}")
    line.until(3700)
    (window,) = line.core.windows.values()
    line.restart()
    assert window.groups == {}
    assert [address for address in line.kept if address[0] == "window"] == []


def test_a_restart_in_the_middle_changes_nothing() -> None:
    """Two before, one after: a storm; and one that held before goes on holding without firing anew."""
    line = Timeline(STORM)
    for seconds in (0, 1):
        line.event(seconds, "create", image="x")
    line.restart()
    assert line.event(2, "create", image="x") == ["2s firing storm[x]: 3 of x in 1m"]
    line.restart()
    assert line.event(3, "create", image="x") == []
    assert line.until(62) == ["61s resolved storm[x]: 3 of x in 1m"]


def test_what_a_count_tells() -> None:
    """Number, rate, first and last, and samples that can be looked at."""
    line = Timeline(STORM)
    for number in range(8):
        line.event(number * 2, "create", f"c{number}", image="x")
    state = line.core.alerts.states["storm", "x"]
    (evidence,) = state.evidence
    assert evidence["count"] == 3
    assert evidence["per_minute"] == 30.0
    assert evidence["samples"] == ["c0", "c1", "c2"]
    assert evidence["first_at"] < evidence["last_at"]
