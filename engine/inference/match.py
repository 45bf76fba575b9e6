"""One combination of facts that matches a rule: the rule and its bound items. Data only; knows nothing of how it was found.

A match is named by what its patterns bound. What the rule did on it lives as long as the match does (support).
"""

from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from engine.facts.timestamps import Micros
from engine.inference.change_log import encode
from engine.inference.conditions import getter
from engine.inference.items import Identity, Item
from engine.rules.model import Ref, Rule

Bindings = Mapping[str, tuple[int, str]]
"""Number among the bound items, and kind of fact, of each name that a rule's patterns bind."""


class Match:
    """A rule and the items that its patterns bound."""

    __slots__ = (
        "_id",
        "activation",
        "asserted",
        "bindings",
        "fired",
        "is_constant",
        "items",
        "missing_keys",
        "order",
        "queued",
        "raised",
        "rule",
        "since",
        "wakes",
    )

    def __init__(self, rule: Rule, bindings: Bindings, items: tuple[Item, ...]) -> None:
        self.rule = rule
        self.bindings = bindings
        self.items = items
        self.order: tuple[int, ...] = tuple([item.seq for item in items])
        """Places in which its items entered: names it within its rule, and settles the order there."""
        self.is_constant = all(item.is_event for item in items)
        """Whether nothing of it ever changes."""
        self._id = ""
        self.since: Micros | None = None
        """Since when everything holds that the rule asks for, None while a `missing` does not."""
        self.fired: str | None = None
        """Version on which it fired last: the values of the fields that the rule tests or uses (refraction)."""
        self.activation = ""
        self.raised: str | None = None
        """Key of the alert that it supports."""
        self.asserted: dict[Identity, None] = {}
        """Facts that live on its support."""
        self.queued = False
        """Whether it is on the agenda."""
        self.wakes: Micros | None = None
        """When a timer looks at it next, None for never."""
        self.missing_keys: dict[str, tuple[Any, ...] | None] = {}
        """What each `missing` of the rule looks for, by its name."""

    @property
    def id(self) -> str:
        """Names it among all matches of all rules, in the journal too."""
        if not self._id:
            self._id = encode([self.rule.id, self.rule.version, self.key])
        return self._id

    @property
    def key(self) -> tuple[Identity, ...]:
        """What its patterns bound."""
        return tuple([item.identity for item in self.items])

    def value_of(self, ref: Ref) -> Any:
        """What a reference refers to."""
        return value_in(self.items, self.bindings, ref)

    def activation_id(self, version: str) -> str:
        """Names its firing on this version: the same rule, version and supporting facts give the same id."""
        content = (self.rule.id, self.rule.version, self.key, version, self.since)
        return sha256(repr(content).encode("utf-8", "surrogatepass")).hexdigest()[:20]

    def to_json(self) -> list[Any]:
        """As it stands in the journal."""
        return [self.id, self.since, self.fired, self.activation, self.raised, sorted(map(list, self.asserted))]


def value_in(items: tuple[Item, ...], bindings: Bindings, ref: Ref) -> Any:
    """What a reference refers to among bound items; None where nothing is bound by that name."""
    bound = bindings.get(ref.binding)
    if bound is None:
        return None
    number, kind = bound
    return getter(kind, ref.path)(items[number].values)
