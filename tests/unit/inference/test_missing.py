"""`missing`: from when on something counts as not seen."""

from tests.unit.inference.timeline import Timeline

SILENT = """
  - rule: silent
    title: Silent
    severity: warning
    when:
      quiet:
        missing: {fact: container_event, action: exec_create}
        for: 1m
    then:
      - alert: "nothing was seen"
"""
EACH = """
  - rule: silent
    title: Silent
    severity: warning
    when:
      web: {fact: container, status: running}
      quiet:
        missing: {fact: container_event, action: exec_create, id: $web.id}
        for: 1m
    key: "{web.id}"
    then:
      - alert: "{web.id} is silent"
"""
STATE = """
  - rule: lonely
    title: Lonely
    severity: warning
    when:
      none:
        missing: {fact: container, status: running}
        for: 1m
    then:
      - alert: "nothing runs"
"""


def test_nothing_is_missing_from_before_the_first_moment() -> None:
    """The minute counts from when it was first looked for."""
    line = Timeline(SILENT)
    assert line.until(0) == line.until(59) == []
    assert line.until(60) == ["60s firing silent: nothing was seen"]


def test_what_is_seen_ends_it_and_starts_the_minute_anew() -> None:
    """A sign of life resolves; a minute after the last one it fires again."""
    line = Timeline(SILENT)
    line.until(0)
    line.until(60)
    assert line.event(70, "exec_create") == ["70s resolved silent: nothing was seen"]
    assert line.until(129) == []
    assert line.until(130) == ["130s firing silent: nothing was seen"]


def test_something_else_is_no_sign_of_life() -> None:
    """Only what the pattern asks for counts."""
    line = Timeline(SILENT)
    line.until(0)
    line.event(30, "start")
    assert line.until(60) == ["60s firing silent: nothing was seen"]


def test_each_container_is_missed_by_itself() -> None:
    """A join: the signs of one are not those of the other."""
    line = Timeline(EACH)
    line.box(0, "a", status="running")
    line.box(0, "b", status="running")
    line.event(30, "exec_create", "a")
    assert line.until(60) == ["60s firing silent[b]: b is silent"]
    assert line.until(90) == ["90s firing silent[a]: a is silent"]


def test_a_state_is_being_seen_for_as_long_as_it_lives() -> None:
    """It is missing from when it went, however long ago it was told."""
    line = Timeline(STATE)
    line.box(0, "a", status="running")
    assert line.until(600) == []
    line.gone(700, "a")
    assert line.until(759) == []
    assert line.until(760) == ["760s firing lonely: nothing runs"]


def test_two_that_are_seen_are_not_missing_when_one_goes() -> None:
    """The last one counts."""
    line = Timeline(STATE)
    line.box(0, "a", status="running")
    line.box(0, "b", status="running")
    line.gone(10, "a")
    assert line.until(200) == []


def test_a_restart_forgets_neither_when_it_was_seen_nor_since_when_it_was_looked_for() -> None:
    """The minute goes on where it was."""
    line = Timeline(SILENT)
    line.until(0)
    line.event(30, "exec_create")
    line.restart()
    assert line.until(89) == []
    assert line.until(90) == ["90s firing silent: nothing was seen"]


def test_what_was_seen_by_thousands_of_keys_is_forgotten_in_time() -> None:
    """Containers that come and go do not fill memory or journal."""
    line = Timeline(EACH)
    for number in range(5000):
        line.event(number, "exec_create", f"c{number}")
    (gate,) = line.core.nodes[0].gates
    assert len(gate._seen) <= 2048
