"""Why a rule has not fired, in sentences."""

import pytest

from engine.inference.diagnosis import why_not
from engine.inference.persistence import snapshot
from tests.unit.inference.timeline import Timeline

RULE = """
  - rule: pair
    title: Pair
    severity: warning
    for: 10s
    when:
      dead: {fact: container, status: dead}
      died: {fact: container_event, action: die, id: $dead.id}
    unless:
      - {fact: daemon, reachable: false}
    key: "{dead.id}"
    then:
      - alert: "{died.id}"
"""
COUNT = """
  - rule: storm
    title: Storm
    severity: warning
    when:
      storm:
        count: {fact: container_event, action: create}
        by: [image]
        within: 1m
        at_least: 5
    then:
      - alert: "{storm.count} of {storm.image}"
"""


def reasons(line: Timeline, rule: str = "pair") -> str:
    """All that is said."""
    return "\n".join(why_not(line.core, rule)["reasons"])


def test_an_unknown_rule_is_said_to_be_none() -> None:
    """A misspelt name is the first thing to rule out."""
    assert why_not(Timeline(RULE).core, "nothing") == {
        "rule": "nothing",
        "known": False,
        "reasons": ["there is no rule nothing in force"],
    }


def test_the_pattern_that_lacks_a_fact_is_named() -> None:
    """With how many of its kind are held."""
    line = Timeline(RULE)
    line.box(0, "a", status="running")
    text = reasons(line)
    assert "pattern dead: no container fact passes its tests (1 are held)" in text
    assert "pattern died: no container_event fact" in text


def test_facts_that_do_not_fit_together_are_told_apart_from_missing_ones() -> None:
    """Each pattern has its facts, of different containers."""
    line = Timeline(RULE)
    line.box(0, "a", status="dead")
    line.event(0, "die", "b")
    assert "none fit together" in reasons(line)


def test_what_it_waits_for_is_said() -> None:
    """First the time it has to hold, then the `unless`, then nothing: it has fired."""
    line = Timeline(RULE)
    line.at(0, kind="daemon", reachable=False)
    line.box(0, "a", status="dead")
    line.event(4, "die", "a")
    assert "has to hold for another 10s" in reasons(line)
    line.until(20)
    assert "held back by `unless` number 1" in reasons(line)
    line.at(30, kind="daemon", reachable=True)
    assert "it has fired on this already (activation " in reasons(line)


@pytest.mark.parametrize("number", [0, 3])
def test_a_count_says_how_near_it_came(number: int) -> None:
    """The largest group against the threshold."""
    line = Timeline(COUNT)
    for seconds in range(number):
        line.event(seconds, "create", image="x")
    assert f"the largest group has {number} of 5 within 1m" in reasons(line, "storm")


def test_asking_changes_nothing() -> None:
    """The answer of a running sidecar must not make it decide anything."""
    line = Timeline(RULE)
    line.box(0, "a", status="dead")
    line.event(4, "die", "a")
    before = snapshot(line.core)
    reasons(line)
    assert snapshot(line.core) == before


def test_thousands_of_matches_are_not_all_spoken_of() -> None:
    """The answer stays readable."""
    line = Timeline(RULE)
    for number in range(50):
        line.box(0, f"c{number}", status="dead")
        line.event(0, "die", f"c{number}")
    answer = why_not(line.core, "pair")
    assert answer["matches"] == 50
    assert len(answer["reasons"]) == 11
