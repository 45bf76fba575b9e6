"""Alerts: one for each rule and key, on the support of matches; and the order in which things are decided."""

from engine.inference.alerts import REMEMBERED_S
from tests.unit.inference.timeline import Timeline

DEAD = """
  - rule: dead
    title: Dead
    severity: warning
    when:
      dead: {fact: container, status: dead}
    key: "{dead.image}"
    then:
      - alert: "{dead.id} is dead"
"""
OOM = """
  - rule: oom
    title: Oom
    severity: warning
    resolve_after: 1m
    when:
      oom: {fact: container_event, action: oom}
    key: "{oom.id}"
    then:
      - alert: "{oom.id} ran out of memory"
"""


def test_it_fires_while_any_of_its_supporters_lives() -> None:
    """Two dead containers of one image are one alert, over when the second is gone."""
    line = Timeline(DEAD)
    line.box(0, "a", image="x", status="dead")
    line.box(1, "b", image="x", status="dead")
    assert line.gone(2, "a") == []
    assert line.gone(3, "b") == ["3s resolved dead[x]: b is dead"]


def test_losing_and_gaining_support_in_one_moment_resolves_nothing() -> None:
    """What takes the place of a supporter at once carries the alert on."""
    line = Timeline(DEAD)
    line.box(0, "a", image="x", status="dead")
    line.box(0, "b", image="x", status="dead")
    assert line.box(5, "a", image="y", status="dead") == ["5s firing dead[y]: a is dead"]
    assert line.core.alerts.states["dead", "x"].firing


def test_a_flapping_trouble_is_one_alert_with_a_count() -> None:
    """Within the hour for which a resolved one is remembered; its beginning is the new one."""
    line = Timeline(DEAD)
    for seconds in (0, 20, 40):
        line.box(seconds, "a", image="x", status="dead")
        line.box(seconds + 10, "a", image="x", status="exited")
    state = line.core.alerts.states["dead", "x"]
    assert state.details["count"] == 3
    assert state.details["starts_at"] - state.details["updated_at"] == -10_000_000


def test_after_the_hour_it_is_a_new_one() -> None:
    """The old one is forgotten, in memory and in the journal."""
    line = Timeline(DEAD)
    line.box(0, "a", image="x", status="dead")
    line.gone(1, "a")
    line.until(1 + REMEMBERED_S)
    assert line.core.alerts.states == {}
    line.restart()
    assert [address for address in line.kept if address[0] == "alert"] == []
    line.box(4000, "a", image="x", status="dead")
    assert line.core.alerts.states["dead", "x"].details["count"] == 1


def test_resolve_after_ends_it_though_its_event_still_lives() -> None:
    """A minute after it last fired."""
    line = Timeline(OOM)
    line.event(0, "oom")
    line.event(30, "oom")
    assert line.until(89) == []
    assert line.until(90) == ["90s resolved oom[a]: a ran out of memory"]


def test_a_restart_keeps_what_fires_and_when_it_ends() -> None:
    """It is neither raised anew nor forgotten."""
    line = Timeline(OOM, DEAD)
    line.event(0, "oom")
    line.box(0, "b", image="x", status="dead")
    line.restart()
    assert line.box(1, "b", image="x", status="dead") == []
    assert line.until(61) == ["60s resolved oom[a]: a ran out of memory"]
    assert line.gone(62, "b") == ["62s resolved dead[x]: b is dead"]


def test_a_rule_that_is_no_more_resolves_its_alerts_as_soon_as_time_goes_on() -> None:
    """Also on a quiet host: no fact is needed."""
    line = Timeline(DEAD, OOM)
    line.box(0, "a", image="x", status="dead")
    line.restart(OOM)
    assert line.until(1) == ["0s resolved dead[x]: a is dead"]


def test_a_new_rule_speaks_of_what_is_there_as_soon_as_time_goes_on() -> None:
    """What was told before the reload need not be told again."""
    line = Timeline(OOM)
    line.box(0, "a", image="x", status="dead")
    line.restart(OOM, DEAD)
    assert line.until(1) == ["0s firing dead[x]: a is dead"]


def test_priority_then_file_then_place_decides_the_order() -> None:
    """At one moment; a higher priority goes first wherever it stands."""

    def rule(name: str, priority: int = 0) -> str:
        return (
            f"  - rule: {name}\n    title: T\n    severity: info\n    priority: {priority}\n"
            "    when:\n      c: {fact: container, status: dead}\n    then:\n"
            '      - alert: "{c.id}"\n'
        )

    line = Timeline(rule("third") + rule("fourth"), rule("fifth") + rule("first", 9) + rule("second", 1))
    said = line.box(0, "a", status="dead")
    assert [text.split()[2].rstrip(":") for text in said] == ["first", "second", "third", "fourth", "fifth"]


def test_what_an_alert_holds_back_waits_for_its_end() -> None:
    """`unless` over the alert of another rule: a maintenance, say."""
    held = DEAD.replace("then:", "unless:\n      - {fact: alert, rule: oom, status: firing}\n    then:")
    line = Timeline(OOM, held)
    line.event(0, "oom")
    assert line.box(1, "b", image="x", status="dead") == []
    assert line.until(60) == ["60s resolved oom[a]: a ran out of memory", "60s firing dead[x]: b is dead"]
