"""The tests of a pattern over values: every operator, on what it is meant for and on what it is not."""

from typing import Any

import pytest

from engine.inference.conditions import attribute, conjunction, constant, getter
from engine.rules.model import Condition, Op
from engine.rules.operators import OPERATORS, holds

ODD: list[Any] = [None, True, False, 0, -1, 1.5, float("nan"), "", "1", "\ud800", [], ["a"], {}, {"a": "b"}, object()]


@pytest.mark.parametrize(
    ("op", "value", "other", "expected"),
    [
        ("eq", 1, 1, True),
        ("eq", 1.0, 1, True),
        ("eq", "1", 1, False),
        ("eq", True, 1, False),  # in Python True == 1; in a rule a flag is no number
        ("eq", False, 0, False),
        ("eq", True, True, True),
        ("ne", True, 1, True),
        ("ne", None, "x", True),
        ("gt", 2, 1, True),
        ("gt", None, 1, False),
        ("gt", True, 0, False),
        ("gt", "b", "a", True),
        ("gt", "b", 1, False),
        ("gte", 1, 1, True),
        ("lt", 1, 2, True),
        ("lte", 2, 2, True),
        ("contains", "device is busy", "busy", True),
        ("contains", ["a", "b"], "a", True),
        ("contains", {"label": "x"}, "label", True),
        ("contains", None, "a", False),
        ("startswith", "rancher/agent", "rancher/", True),
        ("startswith", None, "a", False),
        ("endswith", "a.log", ".log", True),
        ("re", "runc:[2:INIT]", r"^runc:\[\d:INIT\]$", True),
        ("re", ["kube-system/kube-proxy-x", "b"], "kube-proxy", True),
        ("re", None, ".*", False),
        ("exists", "", True, True),
        ("exists", None, True, False),
        ("exists", None, False, True),
    ],
)
def test_what_each_operator_means(op: Op, value: Any, other: Any, expected: bool) -> None:
    """The table of the rule language, with its traps."""
    assert OPERATORS[op](value, other) is expected


@pytest.mark.parametrize("op", sorted(OPERATORS))
def test_no_operator_raises_whatever_it_is_given(op: Op) -> None:
    """A fact of an odd type does not match; it does not end the core."""
    for value in ODD:
        for other in ODD:
            if isinstance(other, list | dict) or other == "\ud800":
                continue  # a rule says texts, numbers and flags; the check lets nothing else in
            assert OPERATORS[op](value, other) in (True, False)


def test_several_values_mean_any_of_them_and_for_ne_none_of_them() -> None:
    """`status|ne: [running, paused]` is neither."""
    assert holds("eq", "b", ("a", "b"))
    assert not holds("ne", "b", ("a", "b"))
    assert holds("ne", "c", ("a", "b"))
    assert holds("gt", 5, (10, 3))


def test_an_expression_looks_at_a_text_that_is_no_utf_8() -> None:
    """A path with a broken byte matches by the rest of it, and does not end the core."""
    assert holds("re", "/mnt/\udcff/merged", ("/merged$",))
    assert not holds("re", "\udcff", ("x",))


def test_an_expression_takes_linear_time_on_a_text_made_against_it() -> None:
    """RE2: the pattern that takes Python's engine for ever, on a megabyte."""
    assert not holds("re", "a" * 1_000_000 + "!", ("^(a+)+$",))


def test_dotted_fields_reach_into_maps_and_aliases_into_models() -> None:
    """`labels.com.example.role` and `class`; what is not there is nothing."""
    assert getter("container", ("labels", "com.example.role"))({"labels": {"com.example.role": "db"}}) == "db"
    assert getter("container", ("labels", "a"))({"labels": None}) is None
    assert getter("container", ("labels", "a"))({}) is None
    assert getter("kernel_event", ("class",))({"class_": "hung_task"}) == "hung_task"
    assert attribute("kernel_event", ("class",)) == "class_"
    assert attribute("container", ("labels", "a")) is None


@pytest.mark.parametrize("number", range(5))
def test_a_conjunction_asks_all(number: int) -> None:
    """Written out for one and two, in a loop beyond; None for none."""
    tests = [constant("container", Condition((f"f{n}",), "eq", (n,))) for n in range(number)]
    both = conjunction(tests)
    full = {f"f{n}": n for n in range(number)}
    if both is None:
        assert number == 0
        return
    assert both(full)
    assert not any(both({**full, f"f{n}": "other"}) for n in range(number))
