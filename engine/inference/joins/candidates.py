"""What of each pattern could join: a native index by join key, and the filter that it gives.

An item is a candidate of a pattern as soon as it passes the pattern's own conditions. It is complete once every other pattern
of the rule has a candidate with equal join fields; until then it is one entry of this index and nothing else. Knows no library.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from engine.inference.items import Item

JoinField = tuple[int, int]
"""Pattern and field, both by number."""

Keys = tuple[str | int | float, ...]
"""Join fields of an item, in the order of its pattern's fields: see `engine.rules.operators.equality_key`."""

Combined = tuple[Item, ...]
"""One item for each pattern, in their order."""

KeysOf = Callable[[int, Item], Keys]
"""Join fields that an item had when it was added to this pattern."""


@dataclass(frozen=True, slots=True)
class Structure:
    """What a join depends on: how many patterns, and which field of a pattern equals which field of an earlier one."""

    patterns: int
    equal: tuple[tuple[JoinField, JoinField], ...]
    """Pairs (later pattern and field, earlier pattern and field)."""


class Combination(Protocol):
    """One way to combine candidates. durable-rules and the native one pass the same tests, each the other's oracle."""

    def insert(self, pattern: int, item: Item, keys: Keys) -> list[Combined]:
        """Add an item to a pattern; the combinations that it completes, in any order.

        Raises:
            ValueError: the pattern has the item already: a fault of ours, never of a fact.
        """

    def remove(self, pattern: int, item: Item, keys: Keys) -> None:
        """Take an item of a pattern back. What it was part of is the caller's to forget."""

    def close(self) -> None:
        """Not needed any more."""


class Link(NamedTuple):
    """What an item of one pattern has to find in another one."""

    pattern: int
    mine: tuple[int, ...]
    """Numbers of its own fields; none where the two patterns share no equality."""
    others: tuple[int, ...]
    """Numbers of the fields that equal them, in the same order."""


_Bucket = Item | dict[int, Item]
"""Candidates with one key: most keys have one, and a dict for each would be most of the memory."""


class Candidates:
    """Items by pattern and join key."""

    __slots__ = ("_index", "links")

    def __init__(self, structure: Structure) -> None:
        shared: dict[tuple[int, int], list[tuple[int, int]]] = {}
        for (later, field), (earlier, its) in structure.equal:
            shared.setdefault((later, earlier), []).append((field, its))
            shared.setdefault((earlier, later), []).append((its, field))
        numbers = range(structure.patterns)
        self.links: list[tuple[Link, ...]] = [
            tuple(
                Link(other, tuple(mine for mine, _ in pairs), tuple(its for _, its in pairs))
                for other in numbers
                if other != number
                for pairs in (shared.get((number, other), []),)
            )
            for number in numbers
        ]
        self._index: list[dict[tuple[int, ...], dict[Any, _Bucket]]] = [
            {link.mine: {} for link in self.links[number]} for number in numbers
        ]

    def add(self, pattern: int, item: Item, keys: Keys) -> None:
        """The item is a candidate from now on."""
        for fields, buckets in self._index[pattern].items():
            key = picked(keys, fields)
            bucket = buckets.get(key)
            if bucket is None:
                buckets[key] = item
            elif not isinstance(bucket, dict):
                if bucket is item:
                    raise ValueError(f"item {item.seq} is in pattern {pattern} already")
                buckets[key] = {bucket.seq: bucket, item.seq: item}
            elif item.seq in bucket:
                raise ValueError(f"item {item.seq} is in pattern {pattern} already")
            else:
                bucket[item.seq] = item

    def discard(self, pattern: int, item: Item, keys: Keys) -> bool:
        """The item is no candidate any more. False when it was none."""
        there = False
        for fields, buckets in self._index[pattern].items():
            key = picked(keys, fields)
            bucket = buckets.get(key)
            if isinstance(bucket, dict):
                there = bucket.pop(item.seq, None) is not None
                if not bucket:
                    del buckets[key]
            elif bucket is item:
                there = True
                del buckets[key]
        return there

    def is_complete(self, pattern: int, keys: Keys) -> bool:
        """The filter: whether every other pattern has a candidate with equal join fields."""
        index = self._index
        return all(picked(keys, mine) in index[other][others] for other, mine, others in self.links[pattern])

    def partners(self, link: Link, keys: Keys) -> Iterable[Item]:
        """Candidates of another pattern whose fields equal these keys, in the order in which they were added."""
        bucket = self._index[link.pattern][link.others].get(picked(keys, link.mine))
        if bucket is None:
            return ()
        return bucket.values() if isinstance(bucket, dict) else (bucket,)

    def number_with(self, pattern: int, fields: tuple[int, ...], keys: Keys) -> int:
        """How many candidates of a pattern have these keys in these fields; 2 stands for more."""
        bucket = self._index[pattern][fields].get(picked(keys, fields))
        if bucket is None:
            return 0
        return min(2, len(bucket)) if isinstance(bucket, dict) else 1


def picked(keys: Keys, fields: tuple[int, ...]) -> Any:
    """The keys of some fields as one key of an index."""
    if len(fields) == 1:
        return keys[fields[0]]
    return tuple([keys[field] for field in fields])
