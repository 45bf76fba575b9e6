"""What durable-rules is used for: combinations by equal fields, from texts that cannot harm it."""

import json
from typing import Any

import pytest

from engine.inference.joins.durable import Joiner, JoinerPool, JoinError, Structure, join_text

PAIR = Structure(2, (((1, 0), (0, 0)),))
"""Two patterns whose first fields are equal."""
HOSTILE: list[Any] = ["", "\x00", '"', "\\", "\ud800", "a" * 1_000_000, "\x1b[0m", "{}", "ü", [1, {"a": None}], {"a": "b"}]


def test_an_item_completes_a_combination_with_equal_fields_only() -> None:
    """In either order of coming."""
    joiner = Joiner(PAIR)
    assert joiner.insert(0, 1, ["sa"]) == joiner.insert(1, 2, ["sb"]) == []
    assert joiner.insert(1, 3, ["sa"]) == [(1, 3)]
    assert joiner.insert(0, 4, ["sb"]) == [(4, 2)]


def test_what_was_taken_back_completes_nothing() -> None:
    """Retraction is how facts expire."""
    joiner = Joiner(PAIR)
    joiner.insert(0, 1, ["sa"])
    joiner.remove(0, 1)
    joiner.remove(0, 1)
    assert joiner.insert(1, 2, ["sa"]) == []


def test_the_same_item_twice_is_our_fault_and_said() -> None:
    """It would be a match counted twice."""
    joiner = Joiner(PAIR)
    joiner.insert(0, 1, ["sa"])
    with pytest.raises(JoinError):
        joiner.insert(0, 1, ["sa"])


@pytest.mark.parametrize("value", HOSTILE)
def test_hostile_values_join_with_their_equals(value: Any) -> None:
    """What reaches the library is short and plain, whatever the value."""
    text = join_text(value)
    assert text is not None
    assert len(text) < 200
    assert json.loads(json.dumps(text)) == text
    assert text.isprintable()
    joiner = Joiner(PAIR)
    joiner.insert(0, 1, [text])
    assert joiner.insert(1, 2, [str(join_text(value))]) == [(1, 2)]


def test_different_values_have_different_texts() -> None:
    """Across types too: 1 is not "1", true is not 1; but 1 is 1.0, as in a rule."""
    values: list[Any] = [*HOSTILE, "1", 1, True, False, 0, "0", "n1.0", "sa", "a", 2**60, 2**60 + 1, 1.5, -1]
    assert len({join_text(value) for value in values}) == len(values)
    assert join_text(1) == join_text(1.0)
    assert join_text(None) is None


def test_a_joiner_given_back_is_empty_for_the_next_rule() -> None:
    """Rulesets are used again, not built anew: building leaks."""
    pool = JoinerPool()
    joiner = pool.take(PAIR)
    joiner.insert(0, 1, ["sa"])
    pool.give_back(joiner)
    assert pool.take(PAIR) is joiner
    assert joiner.insert(1, 2, ["sa"]) == []
    assert pool.take(PAIR) is not joiner
