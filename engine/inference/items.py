"""What a pattern binds: a fact in working memory, or a count that holds."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from engine.facts import Fact
from engine.facts.registry import DeclaredFact
from engine.facts.timestamps import Micros

if TYPE_CHECKING:
    from engine.inference.windows import Group, Watcher

Identity = tuple[str, ...]

SAMPLES = 5
"""Sample ids that a count carries: enough to look at, short enough for a message."""

COUNT_EVIDENCE = 100
"""Ids of counted facts that a decision names at most (the newest): a storm has thousands."""


def values_of(fact: Fact) -> Mapping[str, Any]:
    """The fields of a fact by attribute name; for a declared kind by the name the rule gave."""
    if isinstance(fact, DeclaredFact):
        return {**fact.__dict__, **fact.values}
    return fact.__dict__


class Node(Protocol):
    """What is told of facts that pass a pattern's own tests."""

    @property
    def keeps(self) -> bool:
        """Whether working memory has to keep an event for it."""

    def insert(self, item: "FactItem") -> None:
        """It passes, and did not before."""

    def update(self, item: "FactItem", old: Mapping[str, Any]) -> None:
        """It passes, did before, and has other values now."""

    def remove(self, item: "FactItem") -> None:
        """It passes no longer, or is gone."""


class FactItem:
    """A fact in working memory. A state fact keeps its item from one update to the next."""

    __slots__ = ("expires", "fact", "identity", "nodes", "seq", "supporters", "values")

    def __init__(self, fact: Fact, identity: Identity, seq: int, expires: Micros | None) -> None:
        self.fact = fact
        self.identity = identity
        self.seq = seq
        """Place in the order in which facts entered."""
        self.expires = expires
        self.values = values_of(fact)
        self.nodes: tuple[Node, ...] = ()
        self.supporters: set[str] | None = None
        """Match ids on whose support it lives, when a rule asserted it `while_supported`."""

    @property
    def is_event(self) -> bool:
        """Events never change."""
        return self.fact.KEY is None

    def fact_ids(self) -> Iterator[str]:
        """Ids for a decision."""
        yield self.fact.fact_id

    def evidence(self) -> dict[str, Any]:
        """As JSON, for an alert."""
        return self.fact.to_json_dict()


class CountItem:
    """A count that holds for one group. Its values are those of the moment it is asked."""

    __slots__ = ("group", "identity", "seq", "watcher")

    def __init__(self, identity: Identity, seq: int, group: "Group", watcher: "Watcher") -> None:
        self.identity = identity
        self.seq = seq
        self.group = group
        self.watcher = watcher

    @property
    def is_event(self) -> bool:
        """It does not fire anew while it holds, whatever its number does."""
        return True

    @property
    def values(self) -> Mapping[str, Any]:
        """count, per_minute, first_at, last_at, within, samples, and the fields it is grouped by."""
        return self.group.values(self.watcher)

    def fact_ids(self) -> Iterator[str]:
        """Ids of the newest facts it counts."""
        yield from self.group.newest_ids(self.watcher, COUNT_EVIDENCE)

    def evidence(self) -> dict[str, Any]:
        """As JSON, for an alert."""
        return {"fact": "count", "of": self.watcher.kind, **self.group.evidence(self.watcher)}


Item = FactItem | CountItem
