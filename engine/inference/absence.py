"""`missing`: when something was last seen, and how long ago that makes it.

An event is seen at its time; a state fact is being seen for as long as it lives and matches. Before the first moment of the core
nothing was looked for, so nothing can be missing from before it.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from engine.facts.timestamps import Micros
from engine.inference.items import FactItem
from engine.inference.ledger import encode
from engine.inference.moment import Moment
from engine.inference.predicates import getter
from engine.rules.model import MissingPattern

if TYPE_CHECKING:
    from engine.inference.matches import Match, RuleNode

Key = tuple[Any, ...]

_FORGET_ABOVE = 1024
"""Keys are looked through for old ones when their number passes this, and again whenever it doubles."""


class MissingGate:
    """Watches for facts of one `missing` pattern. A node of the alpha network, and a condition on the rule's matches."""

    keeps = False

    def __init__(self, node: "RuleNode", pattern: MissingPattern, moment: Moment) -> None:
        self.name = pattern.name
        self.duration = pattern.duration
        self.address = f"{node.rule.id}@{node.rule.version}/{pattern.name}"
        self._node = node
        self._moment = moment
        joined = [(getter(pattern.kind, test.path), test.refs[0]) for test in pattern.tests if test.refs]
        self._own = [read for read, _ in joined]
        self.refs = [ref for _, ref in joined]
        self._seen: dict[Key, Micros] = {}
        self._alive: dict[Key, int] = {}
        self._forget_above = _FORGET_ABOVE
        self._by_key: dict[Key, dict[Match, None]] = {}

    # -- as a node of the alpha network -----------------------------------------------------------------------------

    def insert(self, item: FactItem) -> None:
        """Seen."""
        key = self._key(item.values)
        if not item.is_event:
            self._alive[key] = self._alive.get(key, 0) + 1
        self._see(key, item.fact.at_micros)

    def update(self, item: FactItem, old: Mapping[str, Any]) -> None:
        """Still seen, perhaps under another key."""
        before, after = self._key(old), self._key(item.values)
        if before != after:
            self._alive[after] = self._alive.get(after, 0) + 1
            self._end(before)
        self._see(after, item.fact.at_micros)

    def remove(self, item: FactItem) -> None:
        """A state fact that goes was seen until now; an event was seen when it happened."""
        if not item.is_event:
            self._end(self._key(item.values))

    def _see(self, key: Key, at: Micros) -> None:
        if at > self._seen.get(key, -1):
            self._seen[key] = at
            ledger = self._moment.ledger
            if ledger.kept:
                ledger.put("seen", self._row(key), lambda: [self.address, list(key), self._seen.get(key, at)])
            if len(self._seen) > self._forget_above:
                self._forget()
        self._tell(key)

    def _end(self, key: Key) -> None:
        left = self._alive.get(key, 0) - 1
        if left > 0:
            self._alive[key] = left
            return
        self._alive.pop(key, None)
        self._see(key, self._moment.now)
        self._tell(key)

    def _tell(self, key: Key) -> None:
        for match in tuple(self._by_key.get(key, ())):
            self._node.consider(match)

    def _forget(self) -> None:
        edge = self._moment.now - self.duration
        started = self._moment.started or 0
        # What was seen longer ago than `duration` makes no difference to never having been seen, once the start is as far back.
        if started <= edge:
            for key in [key for key, at in self._seen.items() if at <= edge and key not in self._by_key]:
                del self._seen[key]
                self._moment.ledger.delete("seen", self._row(key))
        self._forget_above = max(_FORGET_ABOVE, 2 * len(self._seen))

    def _row(self, key: Key) -> str:
        return encode([self.address, list(key)])

    def _key(self, values: Mapping[str, Any]) -> Key:
        return tuple([_plain(read(values)) for read in self._own])

    @property
    def was_seen(self) -> bool:
        """Whether what it looks for was ever seen."""
        return bool(self._seen)

    # -- as a condition ---------------------------------------------------------------------------------------------

    def attach(self, match: "Match") -> None:
        """The match asks about its key from now on."""
        self._by_key.setdefault(self._key_of(match), {})[match] = None

    def detach(self, match: "Match") -> None:
        """The match is gone."""
        key = self._key_of(match)
        matches = self._by_key.get(key, {})
        matches.pop(match, None)
        if not matches:
            self._by_key.pop(key, None)
        match.gate_keys.pop(self.name, None)

    def missing_since(self, match: "Match") -> Micros | None:
        """When it was last seen (or the first moment of all); None while it is being seen."""
        key = self._key_of(match)
        if key in self._alive:
            return None
        started = self._moment.started or 0
        return max(self._seen.get(key, started), started)

    def _key_of(self, match: "Match") -> Key:
        return match.gate_keys.setdefault(self.name, tuple([_plain(self._node.value_of(match, ref)) for ref in self.refs]))

    def saved(self) -> list[tuple[str, list[Any]]]:
        """Everything seen, as the journal keeps it: rows and contents."""
        return [(self._row(key), [self.address, list(key), at]) for key, at in self._seen.items()]

    def restore(self, key: list[Any], at: Micros) -> None:
        """When it was last seen, from the journal."""
        self._seen[tuple(_plain(part) for part in key)] = at


def _plain(value: Any) -> Any:
    return encode(value) if isinstance(value, list | dict) else value
