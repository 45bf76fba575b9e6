"""Combines candidates by nothing but the index that filters them. In the place of durable-rules where that is not installed."""

from typing import NamedTuple

from engine.inference.items import Item
from engine.inference.joins.candidates import Candidates, Combined, Keys, KeysOf, Link, Structure, picked


class _Step(NamedTuple):
    """How to find the next pattern's item, given those that are bound."""

    bound: int
    """The bound pattern to start from."""
    link: Link
    """From there to the next pattern."""
    checks: tuple[tuple[int, Link], ...]
    """Other bound patterns whose fields have to equal its own."""


class NativeCombination:
    """A hash join of the candidates, one pattern after the other."""

    __slots__ = ("_candidates", "_keys_of", "_number", "_plans")

    def __init__(self, structure: Structure, keys_of: KeysOf) -> None:
        self._candidates = Candidates(structure)
        self._keys_of = keys_of
        self._number = structure.patterns
        self._plans = [self._plan(first) for first in range(structure.patterns)]

    def _plan(self, first: int) -> tuple[_Step, ...]:
        """Patterns in an order in which each shares fields with one before it, where there is such an order."""
        bound = [first]
        steps: list[_Step] = []
        while len(bound) < self._number:
            ways = [(number, link) for number in bound for link in self._candidates.links[number] if link.pattern not in bound]
            number, link = next(((number, link) for number, link in ways if link.mine), ways[0])
            checks = tuple((other, its) for other, its in ways if its.pattern == link.pattern and other != number and its.mine)
            steps.append(_Step(number, link, checks))
            bound.append(link.pattern)
        return tuple(steps)

    def insert(self, pattern: int, item: Item, keys: Keys) -> list[Combined]:
        """Add an item to a pattern; the combinations that it completes."""
        candidates = self._candidates
        candidates.add(pattern, item, keys)
        if not candidates.is_complete(pattern, keys):
            return []
        plan = self._plans[pattern]
        if len(plan) == 1:  # two patterns, as nearly all joins have
            partners = candidates.partners(plan[0].link, keys)
            return [(item, other) for other in partners] if pattern == 0 else [(other, item) for other in partners]
        found: list[Combined] = []
        self._complete(plan, {pattern: (item, keys)}, found)
        return found

    def _complete(self, plan: tuple[_Step, ...], bound: dict[int, tuple[Item, Keys]], found: list[Combined]) -> None:
        if not plan:
            found.append(tuple([bound[number][0] for number in range(self._number)]))
            return
        step, rest = plan[0], plan[1:]
        for other in self._candidates.partners(step.link, bound[step.bound][1]):
            keys = self._keys_of(step.link.pattern, other)
            if all(picked(bound[number][1], link.mine) == picked(keys, link.others) for number, link in step.checks):
                self._complete(rest, {**bound, step.link.pattern: (other, keys)}, found)

    def remove(self, pattern: int, item: Item, keys: Keys) -> None:
        """Take an item of a pattern back."""
        self._candidates.discard(pattern, item, keys)

    def close(self) -> None:
        """Not needed any more; there is nothing to give back."""
