"""What a pattern binds: a fact in working memory, or a count that is reached. Knows nothing of windows, memory or rules."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

from engine.facts import Fact
from engine.facts.registry import DeclaredFact
from engine.facts.timestamps import SECOND, Micros
from engine.inference.change_log import Encoded, encode, encode_text

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
    """What learns of facts that pass a pattern's own conditions."""

    @property
    def retains_events(self) -> bool:
        """Whether working memory has to retain an event for it."""

    def insert(self, item: "FactItem") -> None:
        """It passes, and did not before."""

    def update(self, item: "FactItem", old: Mapping[str, Any]) -> None:
        """It passes, did before, and has other values now."""

    def remove(self, item: "FactItem") -> None:
        """It passes no longer, or is gone."""


class FactItem:
    """A fact in working memory: what events and states share. An event's takes 64 bytes beside its fact."""

    __slots__ = ("fact", "nodes", "seq", "supporters")

    def __init__(self, fact: Fact, seq: int) -> None:
        self.fact = fact
        self.seq = seq
        """Place in the order in which facts entered."""
        self.nodes: tuple[Node, ...] = ()
        self.supporters: dict[str, None] | None = None
        """Match ids on whose support it lives, when a rule asserted it `while_supported`."""

    @property
    def is_event(self) -> bool:
        """Events never change."""
        return True

    @property
    def identity(self) -> Identity:
        """What working memory holds one of."""
        return self.fact.identity

    @property
    def values(self) -> Mapping[str, Any]:
        """The fields, as conditions read them."""
        return self.fact.__dict__

    @property
    def expires(self) -> Micros | None:
        """When its time is over, None for never."""
        return expiry(self.fact)

    def fact_ids(self) -> Iterator[str]:
        """Ids for a decision."""
        yield self.fact.fact_id

    def evidence(self) -> dict[str, Any]:
        """As JSON, for an alert."""
        return self.fact.to_json_dict()

    @property
    def row(self) -> str:
        """Its key in the journal."""
        return f'["{self.fact.KIND}",{encode_text(self.fact.fact_id)}]'

    def to_json(self) -> Any:
        """As it stands in the journal."""
        supporters = None if self.supporters is None else sorted(self.supporters)
        try:
            text = self.fact.to_json()
        except ValueError:  # a lone surrogate
            return [self.seq, supporters, self.fact.to_json_dict()]
        return Encoded(f"[{self.seq},{'null' if supporters is None else encode(supporters)},{text}]")


class StateItem(FactItem):
    """A state fact. It stays the same item from one update to the next."""

    __slots__ = ("_identity", "_values")

    def __init__(self, fact: Fact, seq: int) -> None:
        super().__init__(fact, seq)
        self._identity = fact.identity
        self._values = values_of(fact)

    @property
    def is_event(self) -> bool:
        """A state changes."""
        return False

    @property
    def identity(self) -> Identity:
        """What working memory holds one of."""
        return self._identity

    @property
    def values(self) -> Mapping[str, Any]:
        """The fields, as conditions read them."""
        return self._values

    @property
    def row(self) -> str:
        """Its key in the journal."""
        return encode(self._identity)

    def replace(self, fact: Fact) -> None:
        """The same identity has another fact from now on."""
        self.fact = fact
        self._values = values_of(fact)

    @contextmanager
    def as_it_was(self, values: Mapping[str, Any]) -> Iterator[None]:
        """Meanwhile its values are those of before an update: a pattern is left as what matched it."""
        self._values, new = values, self._values
        yield
        self._values = new


def item_of(fact: Fact, seq: int) -> FactItem:
    """A new item for a fact."""
    return FactItem(fact, seq) if fact.KEY is None else StateItem(fact, seq)


def expiry(fact: Fact) -> Micros | None:
    """When a fact's time is over, None for never."""
    lifetime = fact.lifetime_s
    return None if lifetime is None else fact.at_micros + round(lifetime * SECOND)


class Counted(Protocol):
    """One group of a window under one threshold."""

    def values(self) -> dict[str, Any]:
        """What `$name.…` refers to, at this moment."""

    def evidence(self) -> dict[str, Any]:
        """The same, as JSON."""

    def newest_ids(self, most: int) -> Iterator[str]:
        """Ids of the newest facts within the window, oldest first."""


class CountItem:
    """A count that is reached for one group. Its values are those of the moment it is asked."""

    __slots__ = ("counted", "identity", "kind", "seq")

    def __init__(self, identity: Identity, seq: int, kind: str, counted: Counted) -> None:
        self.identity = identity
        self.seq = seq
        self.kind = kind
        """Kind of the facts that are counted."""
        self.counted = counted

    @property
    def is_event(self) -> bool:
        """It does not fire anew while it is reached, whatever its number does."""
        return True

    @property
    def values(self) -> Mapping[str, Any]:
        """count, per_minute, first_at, last_at, within, samples, and the fields it is grouped by."""
        return self.counted.values()

    def fact_ids(self) -> Iterator[str]:
        """Ids of the newest facts it counts."""
        yield from self.counted.newest_ids(COUNT_EVIDENCE)

    def evidence(self) -> dict[str, Any]:
        """As JSON, for an alert."""
        return {"fact": "count", "of": self.kind, **self.counted.evidence()}


Item = FactItem | CountItem
