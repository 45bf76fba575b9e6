"""What the shipped rules need of the language beyond plain comparisons."""

import pytest

from engine.inference.predicates import constant
from engine.inference.rendering import VALUE_LENGTH, text_of
from engine.rules.model import DURATION, Test


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
    assert constant("kubelet_event", Test(("pods",), "re", ("/kube-proxy",)))({"pods": pods}) is found


def test_a_long_list_is_cut_like_any_other_value() -> None:
    """A line that names a hundred pods leaves room in the sentence for what to do next."""
    assert len(text_of([f"namespace/pod-{number}" for number in range(100)])) == VALUE_LENGTH
