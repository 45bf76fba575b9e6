"""durable-rules and the native combination, each the other's oracle: any structure, any keys, any order of coming and going."""

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from engine.inference.items import CountItem
from engine.inference.joins import Kind, new_combination
from engine.inference.joins.candidates import Combination, Keys, Structure
from tests.unit.inference.counted import NOTHING_COUNTED

Step = tuple[int, int, Keys]
"""Pattern, item and keys: added when it is not there, else taken back."""

FIELDS = 2
KEYS: tuple[str | int | float, ...] = ("a", "b", 1)


@st.composite
def structures(draw: DrawFn) -> Structure:
    """Two to four patterns with equalities between any of their fields."""
    patterns = draw(st.integers(2, 4))
    places = [(pattern, field) for pattern in range(patterns) for field in range(FIELDS)]
    pairs = [(later, earlier) for later in places for earlier in places if later[0] > earlier[0]]
    return Structure(patterns, tuple(sorted(draw(st.lists(st.sampled_from(pairs), max_size=4, unique=True)))))


@st.composite
def programs(draw: DrawFn) -> tuple[Structure, list[Step]]:
    """A structure, and items that come and go."""
    structure = draw(structures())
    keys = st.tuples(*[st.sampled_from(KEYS)] * FIELDS)
    steps = st.tuples(st.integers(0, structure.patterns - 1), st.integers(0, 4), keys)
    return structure, draw(st.lists(steps, max_size=40))


@settings(deadline=None)
@given(programs())
def test_both_complete_the_same_combinations(program: tuple[Structure, list[Step]]) -> None:
    """At every step the same combinations, each once."""
    structure, steps = program
    there: dict[tuple[int, int], Keys] = {}
    kinds: tuple[Kind, ...] = ("durable-rules", "native")
    both: list[Combination] = [new_combination(structure, lambda pattern, item: there[pattern, item.seq], kind) for kind in kinds]
    items = [CountItem(("count", str(number)), number, "", NOTHING_COUNTED) for number in range(5)]
    for pattern, number, keys in steps:
        item = items[number]
        known = there.get((pattern, number))
        if known is not None:
            for one in both:
                one.remove(pattern, item, known)
            del there[pattern, number]
            continue
        there[pattern, number] = keys
        durable, native = [[tuple(part.seq for part in parts) for parts in one.insert(pattern, item, keys)] for one in both]
        assert len(dict.fromkeys(native)) == len(native)
        assert sorted(durable) == sorted(native)
