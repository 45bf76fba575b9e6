"""Combinations by equal fields, from values that cannot harm anything: one suite for both ways to combine."""

import gc
import json
import subprocess
import sys
from typing import Any

import pytest

from engine.inference.items import CountItem, Item
from engine.inference.joins import Kind, kind_in_use, new_combination
from engine.inference.joins.candidates import Combination, Keys, Structure
from engine.inference.joins.durable import DurableCombination, join_text
from engine.rules.operators import equality_key
from tests.unit.inference.counted import NOTHING_COUNTED

PAIR = Structure(2, (((1, 0), (0, 0)),))
"""Two patterns whose first fields are equal."""
HOSTILE: list[Any] = ["", "\x00", '"', "\\", "\ud800", "a" * 1_000_000, "\x1b[0m", "{}", "ü", [1, {"a": None}], {"a": "b"}]


class Join:
    """A combination that is driven by numbers."""

    def __init__(self, kind: Kind, structure: Structure = PAIR) -> None:
        self.keys: dict[tuple[int, int], Keys] = {}
        self.items: dict[int, Item] = {}
        self.combination: Combination = new_combination(structure, lambda pattern, item: self.keys[pattern, item.seq], kind)

    def insert(self, pattern: int, number: int, *keys: str | float) -> list[tuple[int, ...]]:
        """Add an item; the combinations that it completes, as numbers."""
        item = self.items.setdefault(number, CountItem(("count", str(number)), number, "", NOTHING_COUNTED))
        self.keys[pattern, number] = keys
        return sorted(tuple(part.seq for part in items) for items in self.combination.insert(pattern, item, keys))

    def remove(self, pattern: int, number: int, *keys: str | float) -> None:
        """Take one back."""
        self.combination.remove(pattern, self.items[number], keys or self.keys[pattern, number])


@pytest.fixture(params=["durable-rules", "native"])
def kind(request: pytest.FixtureRequest) -> Kind:
    """Each of the two in turn."""
    return request.param  # type: ignore[no-any-return]  # one of the two


def test_an_item_completes_a_combination_with_equal_fields_only(kind: Kind) -> None:
    """In either order of coming."""
    join = Join(kind)
    assert join.insert(0, 1, "a") == join.insert(1, 2, "b") == []
    assert join.insert(1, 3, "a") == [(1, 3)]
    assert join.insert(0, 4, "b") == [(4, 2)]


def test_what_was_taken_back_completes_nothing(kind: Kind) -> None:
    """Retraction is how facts expire; twice is once."""
    join = Join(kind)
    join.insert(0, 1, "a")
    join.remove(0, 1)
    join.remove(0, 1)
    assert join.insert(1, 2, "a") == []


def test_the_same_item_twice_is_our_fault_and_raises(kind: Kind) -> None:
    """It would be a match counted twice."""
    join = Join(kind)
    join.insert(0, 1, "a")
    with pytest.raises(ValueError, match="already"):
        join.insert(0, 1, "a")
    join.insert(0, 2, "a")
    with pytest.raises(ValueError, match="already"):
        join.insert(0, 2, "a")


@pytest.mark.parametrize("value", HOSTILE)
def test_hostile_values_join_with_their_equals(kind: Kind, value: Any) -> None:
    """What reaches the library is short and plain, whatever the value."""
    key = equality_key(value)
    assert key is not None
    text = join_text(key)
    assert len(text) < 200
    assert json.loads(json.dumps(text)) == text
    assert text.isprintable()
    join = Join(kind)
    join.insert(0, 1, key)
    assert join.insert(1, 2, equality_key(value) or "") == [(1, 2)]


def test_different_values_have_different_texts() -> None:
    """Across types too: 1 is not "1", true is not 1; but 1 is 1.0, as in a rule. Nothing and NaN equal nothing."""
    values: list[Any] = [
        *HOSTILE,
        "1",
        1,
        True,
        False,
        0,
        "0",
        "n1.0",
        "sa",
        "a",
        2**60,
        2**60 + 1,
        1.5,
        -1,
        10**400,
        float("inf"),
    ]
    assert len({join_text(equality_key(value)) for value in values}) == len(values)
    assert join_text(equality_key(1)) == join_text(equality_key(1.0))
    assert join_text(equality_key(2**60)) == join_text(equality_key(float(2**60)))
    assert equality_key(None) is equality_key(float("nan")) is None


def test_the_last_partner_that_goes_leaves_nothing_to_join(kind: Kind) -> None:
    """What waited beside it joins the next partner that comes, once."""
    join = Join(kind)
    join.insert(0, 1, "a")
    join.insert(0, 2, "a")
    assert join.insert(1, 3, "a") == [(1, 3), (2, 3)]
    join.remove(1, 3)
    assert join.insert(0, 4, "a") == []
    assert join.insert(1, 5, "a") == [(1, 5), (2, 5), (4, 5)]


def test_a_chain_of_three_patterns_with_one_unlinked(kind: Kind) -> None:
    """Equal fields between neighbours only, and a fourth pattern that everything goes with."""
    join = Join(kind, Structure(4, (((1, 0), (0, 0)), ((2, 0), (1, 1)))))
    join.insert(0, 1, "a")
    join.insert(1, 2, "a", "x")
    join.insert(1, 3, "b", "x")
    join.insert(2, 4, "x")
    assert join.insert(3, 5) == [(1, 2, 4, 5)]
    assert join.insert(0, 6, "b") == [(6, 3, 4, 5)]
    join.remove(1, 2)
    assert join.insert(2, 7, "x") == [(6, 3, 7, 5)]


def test_what_joins_nothing_never_reaches_the_library() -> None:
    """A fact without partners is one entry of an index: nothing is compiled, nothing asserted."""
    join = Join("durable-rules")
    for number in range(100):
        join.insert(0, number, f"k{number}")
    assert isinstance(join.combination, DurableCombination)
    assert join.combination.asserted == 0
    join.insert(1, 100, "k7")
    assert join.combination.asserted == 2
    join.remove(1, 100)
    assert join.combination.asserted == 0


def test_compiled_rulesets_belong_to_the_process() -> None:
    """Compiling leaks: what a rule gives back, or leaves to the collector, the next of its structure has again, empty."""
    structure = Structure(3, (((1, 0), (0, 0)), ((2, 1), (0, 1)), ((2, 0), (1, 0))))
    handles = set()
    for number in range(50):
        join = Join("durable-rules", structure)
        join.insert(0, 1, "a", "b")
        join.insert(1, 2, "a")
        assert join.insert(2, 3, "a", "b") == [(1, 2, 3)]
        assert isinstance(join.combination, DurableCombination)
        handles.add(join.combination.handle)
        if number % 2:
            join.combination.close()
        else:
            del join
            gc.collect()
    assert len(handles) == 1


def test_this_set_up_combines_by_durable_rules() -> None:
    """What setup builds is the mended library, and it is what the process uses."""
    assert kind_in_use() == "durable-rules"


@pytest.mark.parametrize("version", ["2.0.28", None])
def test_without_the_mended_library_the_native_combination_takes_its_place(version: str | None) -> None:
    """Not installed, or installed without the mended line: it is not even imported, and joins join all the same."""
    done = subprocess.run(
        [sys.executable, "-c", _WITHOUT, version or ""], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout.split()) == (0, ["native", "1"]), done.stderr


_WITHOUT = """
import sys
from importlib import metadata

def version(name, known=metadata.version):
    if name != "durable-rules":
        return known(name)
    if sys.argv[1]:
        return sys.argv[1]
    raise metadata.PackageNotFoundError(name)

metadata.version = version
sys.modules["durable_rules_engine"] = None  # an import would fail

from engine.inference.core import Core
from tests.property.build import check, container, event, fact, ref, rule, ruleset

core = Core(ruleset(rule("r", fact("c", "container"), fact("e", "container_event", check("id", ref("c.id"))))))
core.step(container(0, "a", "1"))
print(core.status()["joins"], len(core.step(event(1, "die", "a", "2"))))
"""
