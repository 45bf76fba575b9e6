"""What the shipped rules need of the language beyond plain comparisons."""

from datetime import UTC, datetime

import pytest

from engine.facts.docker import Container
from engine.inference.conditions import constant
from engine.inference.core import Core
from engine.inference.decision import AlertDecision
from engine.inference.templates import VALUE_LENGTH, text_of
from engine.rules.model import DURATION, Condition
from engine.rules.reader import check_texts


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (None, "unknown"),
        (-5, "0s"),
        (42.9, "42s"),
        (75, "1m10s"),
        (725, "12m"),
        (13_482.7, "3h40m"),
        (190_000, "2d4h"),
        (1e12, "365d"),
        (float("inf"), "inf"),
    ],
)
def test_seconds_are_told_as_people_say_them(seconds: float | None, shown: str) -> None:
    """The format `duration` makes a length of time of seconds, no more exact than a forecast is."""
    assert text_of(seconds, DURATION) == shown


@pytest.mark.parametrize(
    ("pods", "found"),
    [
        (["default/web", "kube-system/kube-proxy-x2"], True),
        (["default/web", "default/not-kube-proxy"], False),
        ([], False),
        (None, False),
        ([["kube-system/kube-proxy"], 7], False),
    ],
)
def test_an_expression_looks_at_every_element_of_a_list(pods: object, found: bool) -> None:
    """`pods|re` holds when one of the pods matches, and never fails on a list of something else."""
    assert constant("kubelet_event", Condition(("pods",), "re", ("/kube-proxy",)))({"pods": pods}) is found


def test_a_long_list_is_cut_like_any_other_value() -> None:
    """A line that names a hundred pods leaves room in the sentence for what to do next."""
    assert len(text_of([f"namespace/pod-{number}" for number in range(100)])) == VALUE_LENGTH


def test_the_advice_names_what_the_alert_is_about() -> None:
    """Placeholders of `next` are filled in like those of the alert, and checked like them."""
    text = """
rules:
  - rule: stuck
    title: Something is stuck
    severity: warning
    when:
      c: {fact: container, status: dead}
    key: "{c.id}"
    next: "look at {c.name}"
    then: [{alert: "{c.id} is dead"}]
"""
    checked = check_texts([("rules.yaml", text.encode())])
    assert checked.ruleset is not None
    core = Core(checked.ruleset, keep_changes=False)
    (said,) = core.step(Container(at=datetime(2026, 11, 20, tzinfo=UTC), id="c1", name="web", status="dead"))
    assert isinstance(said, AlertDecision)
    assert said.alert.advice == "look at web"
    faulty = check_texts([("rules.yaml", text.replace("{c.name}", "{c.nam}").encode())])
    assert [finding.check.id for finding in faulty.findings] == ["DW202"]
