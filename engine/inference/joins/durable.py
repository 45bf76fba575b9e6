"""Combines candidates by durable-rules. The only module that knows durable-rules.

Only what is complete (see `candidates`) enters the library, and it leaves again when its last partner of another pattern goes: a
fact that joins nothing costs one entry of an index, where the library takes 9 kB. What is asserted is a slim projection: the
number of its pattern and its join fields, each as a short flat text.

Measured limits that shape this (durable-rules 2.0.28): compiling a ruleset anew leaks, so compiled ones belong to the process,
are made when first needed, and are used again by the next rule of the same structure; its negation is wrong and its events are
kept for ever, so neither is used; its `engine.Host` starts threads, so the compiled ruleset is driven directly.
"""

import json
import re
from hashlib import blake2b
from math import isfinite
from typing import Any
from weakref import finalize

import durable_rules_engine

from engine.inference.items import Item
from engine.inference.joins.candidates import Candidates, Combined, Keys, KeysOf, Structure

_PLAIN = re.compile(r"[A-Za-z0-9_.:/@-]{1,128}\Z")

_EXACT = 2**53
"""Whole numbers below this are floats without loss."""


def join_text(value: Any) -> str:
    """A join field as a short text: equal values have equal texts, others do not.

    Anything but a short plain word is hashed, so that no control character, quote or megabyte reaches the library.
    """
    if isinstance(value, str):
        if _PLAIN.match(value):
            return "s" + value
        return "h" + blake2b(value.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
    if abs(value) < _EXACT:
        return "n" + repr(float(value))
    return "i" + repr(int(value) if isinstance(value, int) or isfinite(value) else value)


def _definition(structure: Structure) -> dict[str, Any]:
    patterns = []
    for number in range(structure.patterns):
        tests: list[dict[str, Any]] = [{"p": number}]
        tests += [{f"k{field}": {f"p{other}": f"k{its}"}} for (later, field), (other, its) in structure.equal if later == number]
        patterns.append({f"p{number}": tests[0] if len(tests) == 1 else {"$and": tests}})
    return {"join": {"all": patterns}}


class JoinError(RuntimeError):
    """durable-rules refused what it should take: a fault of ours, never of a fact."""


_free: dict[Structure, list[int]] = {}
"""Compiled rulesets that nothing uses at present, by structure. Of the process, not of a core: thousands of cores share them."""


def _take(structure: Structure) -> int:
    free = _free.get(structure)
    if free:
        return free.pop()
    # The name only has to be there: nothing is looked up by it.
    handle: int = durable_rules_engine.create_ruleset("join", json.dumps(_definition(structure)))
    return handle


def _give_back(structure: Structure, handle: int, texts: dict[str, str]) -> None:
    for text in texts.values():
        durable_rules_engine.retract_fact(handle, text)
    texts.clear()
    _free.setdefault(structure, []).append(handle)


class DurableCombination:
    """Candidates that are complete, combined by a compiled ruleset. The ruleset is given back when this object goes."""

    __slots__ = ("__weakref__", "_candidates", "_finalizer", "_handle", "_items", "_keys_of", "_structure", "_texts")

    def __init__(self, structure: Structure, keys_of: KeysOf) -> None:
        self._structure = structure
        self._candidates = Candidates(structure)
        self._keys_of = keys_of
        self._handle: int | None = None
        self._finalizer: finalize[..., DurableCombination] | None = None
        self._texts: dict[str, str] = {}
        """What is asserted, by pattern and item."""
        self._items: list[dict[int, Item]] = [{} for _ in range(structure.patterns)]
        """The same as items, by pattern and number."""

    @property
    def asserted(self) -> int:
        """How many items the library has at present."""
        return len(self._texts)

    @property
    def handle(self) -> int | None:
        """Number of the compiled ruleset, None before the first is needed."""
        return self._handle

    def insert(self, pattern: int, item: Item, keys: Keys) -> list[Combined]:
        """Add an item to a pattern; the combinations that it completes."""
        candidates = self._candidates
        candidates.add(pattern, item, keys)
        found: list[Combined] = []
        for link in candidates.links[pattern]:
            if candidates.number_with(pattern, link.mine, keys) > 1:
                continue  # its partners there had one like it before
            for other in tuple(candidates.partners(link, keys)):
                its = self._keys_of(link.pattern, other)
                if other.seq not in self._items[link.pattern] and candidates.is_complete(link.pattern, its):
                    found += self._assert(link.pattern, other, its)
        if candidates.is_complete(pattern, keys):
            found += self._assert(pattern, item, keys)
        return found

    def remove(self, pattern: int, item: Item, keys: Keys) -> None:
        """Take an item of a pattern back, and from the library those that are no longer complete without it."""
        candidates = self._candidates
        if not candidates.discard(pattern, item, keys):
            return
        self._retract(pattern, item)
        for link in candidates.links[pattern]:
            if candidates.number_with(pattern, link.mine, keys) == 0:
                for other in candidates.partners(link, keys):
                    self._retract(link.pattern, other)

    def close(self) -> None:
        """Not needed any more: the next rule of this structure may have the compiled ruleset."""
        if self._finalizer is not None:
            self._finalizer()

    def _assert(self, pattern: int, item: Item, keys: Keys) -> list[Combined]:
        if self._handle is None:
            self._handle = _take(self._structure)
            self._finalizer = finalize(self, _give_back, self._structure, self._handle, self._texts)
            self._finalizer.atexit = False
        name = f"{item.seq}.{pattern}"
        fields = "".join([f',"k{number}":"{join_text(key)}"' for number, key in enumerate(keys)])  # plain: nothing to escape
        text = f'{{"id":"{name}","p":{pattern}{fields}}}'
        code, _ = durable_rules_engine.assert_fact(self._handle, text)
        if code not in (0, 3):  # 1: no pattern takes it; 2: known already
            raise JoinError(f"durable-rules answered {code} to {text}")
        self._texts[name] = text
        self._items[pattern][item.seq] = item
        return self._completed()

    def _retract(self, pattern: int, item: Item) -> None:
        if self._items[pattern].pop(item.seq, None) is not None:
            durable_rules_engine.retract_fact(self._handle, self._texts.pop(f"{item.seq}.{pattern}"))

    def _completed(self) -> list[Combined]:
        found: list[Combined] = []
        started = durable_rules_engine.start_action(self._handle)
        if started is None:
            return found
        _, message, offset = started
        while message is not None:
            bound = json.loads(message)["join"]
            numbers = (int(bound[f"p{pattern}"]["id"].partition(".")[0]) for pattern in range(self._structure.patterns))
            found.append(tuple([items[number] for items, number in zip(self._items, numbers, strict=True)]))
            message = durable_rules_engine.complete_and_start_action(self._handle, offset)
        return found
