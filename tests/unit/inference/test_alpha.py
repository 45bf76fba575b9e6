"""Which patterns a fact concerns: the table finds what trying all of them one by one would."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from engine.inference.alpha import AlphaNetwork
from engine.inference.conditions import constant
from engine.rules.model import Condition, Op


class Named:
    """A node that is only there to be found."""

    retains_events = False

    def __init__(self, name: int) -> None:
        self.name = name

    def insert(self, item: Any) -> None:
        """See `Node`."""

    def update(self, item: Any, old: Any) -> None:
        """See `Node`."""

    def remove(self, item: Any) -> None:
        """See `Node`."""


VALUES = st.sampled_from(["a", "b", 1, 1.0, 0, True, False])
TESTS = st.builds(
    lambda field, op, values: Condition((field,), op, tuple(values)),
    st.sampled_from(["action", "image", "exit_code"]),
    st.sampled_from(["eq", "eq", "eq", "ne", "gt", "exists"]),
    st.lists(VALUES, min_size=1, max_size=3),
)


@given(
    st.lists(st.lists(TESTS, max_size=3), max_size=12),
    st.fixed_dictionaries({}, optional={name: VALUES | st.none() | st.just(["a"]) for name in ("action", "image", "exit_code")}),
)
def test_it_finds_what_trying_all_would_find(patterns: list[list[Condition]], values: dict[str, Any]) -> None:
    """For any patterns and any values, also numbers and flags that share a place in a table, and lists that have none."""
    network = AlphaNetwork()
    expected = set()
    for number, tests in enumerate(patterns):
        network.add("container_event", tests, Named(number))
        if all(constant("container_event", test)(values) for test in tests):
            expected.add(number)
    found = [node.name for node in network.nodes_for("container_event", values) if isinstance(node, Named)]
    assert sorted(found) == sorted(expected)


def test_another_kind_concerns_nobody() -> None:
    """Kinds are apart."""
    network = AlphaNetwork()
    network.add("container", (), Named(1))
    assert network.nodes_for("daemon", {}) == ()


def test_a_pattern_added_after_the_first_fact_is_found() -> None:
    """The table is made anew when it is asked next."""
    network = AlphaNetwork()
    network.add("container", (), Named(1))
    network.nodes_for("container", {})
    network.add("container", (Condition(("status",), _EQ, ("dead",)),), Named(2))
    assert len(network.nodes_for("container", {"status": "dead"})) == 2


_EQ: Op = "eq"
