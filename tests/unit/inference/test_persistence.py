"""What a journal holds of the core, and what comes back of it: after a restart, other rules, or damage."""

from engine.inference.persistence import snapshot
from tests.unit.inference.timeline import Timeline

CHAIN = """
  - rule: storm
    title: Storm
    severity: warning
    when:
      dead: {fact: container, status: dead}
    key: "{dead.id}"
    then:
      - assert: {fact: trouble, about: $dead.id, while_supported: true}
  - rule: told
    title: Told
    severity: warning
    when:
      trouble: {fact: trouble}
    key: "{trouble.about}"
    then:
      - alert: "trouble with {trouble.about}"
"""
HELD = """
  - rule: held
    title: Held
    severity: warning
    for: 1m
    when:
      dead: {fact: container, status: dead}
    then:
      - alert: "{dead.id}"
"""


def test_what_changed_is_what_would_be_written_anew() -> None:
    """The rows kept from change to change are the rows of a whole snapshot: nothing missing, nothing left over."""
    line = Timeline(CHAIN, HELD)
    for seconds, status in enumerate(["dead", "running", "dead", "exited", "dead"]):
        line.box(seconds, "a", status=status)
        line.box(seconds, "b", status="dead")
        line._drain()
        assert line.kept == snapshot(line.core)
    line.gone(10, "a")
    line.until(5000)
    line._drain()
    assert line.kept == snapshot(line.core)


def test_a_supported_fact_goes_with_its_support_also_after_a_restart() -> None:
    """Who supports it is remembered."""
    line = Timeline(CHAIN)
    line.box(0, "a", status="dead")
    line.restart()
    assert line.gone(5, "a") == ["5s retract trouble", "5s resolved told[a]: trouble with a"]


def test_how_long_something_holds_is_remembered() -> None:
    """A minute that began before the restart ends when it would have."""
    line = Timeline(HELD)
    line.box(0, "a", status="dead")
    line.restart()
    assert line.until(59) == []
    assert line.until(60) == ["60s firing held: a"]


def test_what_became_due_while_the_process_was_down_is_decided_at_its_time() -> None:
    """The clock of the core goes on from where it stood."""
    line = Timeline(HELD)
    line.box(0, "a", status="dead")
    line.restart()
    assert line.until(3600) == ["60s firing held: a"]


def test_a_fact_of_a_kind_that_is_no_more_is_forgotten() -> None:
    """A rule that declared it is gone: neither memory nor journal keep it, and what stood on it ends."""
    line = Timeline(CHAIN)
    line.box(0, "a", status="dead")
    line.restart(HELD)
    assert line.until(1) == ["0s resolved told[a]: trouble with a"]
    line.restart()
    assert [address for address in line.kept if address[0] == "fact" and "trouble" in address[1]] == []


def test_a_changed_rule_starts_anew_and_the_others_do_not() -> None:
    """State goes by the version of the rule."""
    line = Timeline(CHAIN, HELD)
    line.box(0, "a", status="dead")
    line.until(30)
    line.restart(CHAIN, HELD.replace("1m", "2m"))
    assert line.until(149) == []
    assert line.until(151) == ["150s firing held: a"]


def test_many_restarts_in_a_row_change_nothing() -> None:
    """Reading back and writing is the same state again."""
    line = Timeline(CHAIN, HELD)
    line.box(0, "a", status="dead")
    line._drain()
    before = dict(line.kept)
    for _ in range(5):
        line.restart()
    line._drain()
    assert line.kept == before
