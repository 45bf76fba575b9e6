"""Joins several patterns of a rule by equal fields. The only module that knows durable-rules.

What is asserted there is a slim projection of a fact: the number of its pattern and its join fields, each as a short flat text.
Measured limits that shape this (durable-rules 2.0.28): compiling a ruleset anew leaks, so rulesets are shared by structure and
used again, never rebuilt for another threshold; its negation is wrong and its events are kept for ever, so neither is used; its
`engine.Host` starts threads, so the compiled ruleset is driven directly.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import durable_rules_engine

JoinKey = tuple[int, int]
"""Pattern and field, both by number."""


@dataclass(frozen=True, slots=True)
class Structure:
    """What a ruleset depends on: how many patterns, and which field of a pattern equals which field of an earlier one."""

    patterns: int
    equal: tuple[tuple[JoinKey, JoinKey], ...]
    """Pairs (later pattern and field, earlier pattern and field)."""

    def definition(self) -> dict[str, Any]:
        """As durable-rules has it."""
        patterns = []
        for number in range(self.patterns):
            tests: list[dict[str, Any]] = [{"p": number}]
            tests += [{f"k{field}": {f"p{other}": f"k{its}"}} for (later, field), (other, its) in self.equal if later == number]
            patterns.append({f"p{number}": tests[0] if len(tests) == 1 else {"$and": tests}})
        return {"join": {"all": patterns}}


_PLAIN = re.compile(r"[A-Za-z0-9_.:/@-]{1,128}\Z")


def join_text(value: Any) -> str | None:
    """A join field as a short text: equal values have equal texts, others do not. None for nothing, which equals nothing.

    Anything but a short plain word is hashed, so that no control character, quote or megabyte reaches the library.
    """
    if value is None:
        return None
    if isinstance(value, str):
        if _PLAIN.match(value):
            return "s" + value
        return "h" + blake2b(value.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
    if isinstance(value, bool):
        return "b1" if value else "b0"
    if isinstance(value, int | float):
        return "n" + repr(float(value)) if abs(value) < 2**53 else "i" + repr(value)
    return "o" + blake2b(repr(value).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


class JoinError(RuntimeError):
    """durable-rules refused what it should take: a fault of ours, never of a fact."""


class Joiner:
    """Holds projections and tells which combinations a new one completes."""

    __slots__ = ("_handle", "_texts", "structure")

    def __init__(self, structure: Structure) -> None:
        self.structure = structure
        # The name only has to be there: nothing is looked up by it.
        self._handle = durable_rules_engine.create_ruleset("join", json.dumps(structure.definition()))
        self._texts: dict[str, str] = {}

    def insert(self, pattern: int, item: int, keys: Sequence[str]) -> list[tuple[int, ...]]:
        """Add an item to a pattern; the combinations that it completes, each as the item numbers in the order of the patterns."""
        name = f"{item}.{pattern}"
        text = json.dumps({"id": name, "p": pattern, **{f"k{n}": key for n, key in enumerate(keys)}})
        if name in self._texts:
            raise JoinError(f"{name} is there already")
        code, _ = durable_rules_engine.assert_fact(self._handle, text)
        if code not in (0, 3):  # 1: no pattern takes it; 2: known already
            raise JoinError(f"durable-rules answered {code} to {text}")
        self._texts[name] = text
        return self._completed()

    def remove(self, pattern: int, item: int) -> None:
        """Take an item of a pattern back. What it was part of is the caller's to forget."""
        name = f"{item}.{pattern}"
        text = self._texts.pop(name, None)
        if text is not None:
            durable_rules_engine.retract_fact(self._handle, text)

    def clear(self) -> None:
        """Take everything back."""
        for text in self._texts.values():
            durable_rules_engine.retract_fact(self._handle, text)
        self._texts.clear()

    def _completed(self) -> list[tuple[int, ...]]:
        found: list[tuple[int, ...]] = []
        started = durable_rules_engine.start_action(self._handle)
        if started is None:
            return found
        _, message, offset = started
        while message is not None:
            found.append(self._items(message))
            message = durable_rules_engine.complete_and_start_action(self._handle, offset)
        return found

    def _items(self, message: str) -> tuple[int, ...]:
        bound = json.loads(message)["join"]
        return tuple(int(bound[f"p{number}"]["id"].partition(".")[0]) for number in range(self.structure.patterns))


class JoinerPool:
    """Compiled rulesets that no rule uses at present, for the next rule of the same structure."""

    def __init__(self) -> None:
        self._free: dict[Structure, list[Joiner]] = {}

    def take(self, structure: Structure) -> Joiner:
        """A joiner of this structure, empty."""
        free = self._free.get(structure)
        return free.pop() if free else Joiner(structure)

    def give_back(self, joiner: Joiner) -> None:
        """Not needed any more."""
        joiner.clear()
        self._free.setdefault(joiner.structure, []).append(joiner)
