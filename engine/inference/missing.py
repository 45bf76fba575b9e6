"""`missing`: when something was last seen, and how long ago that makes it.

An event is seen at its time; a state fact is being seen for as long as it lives and matches. Before the first moment of the core
nothing was looked for, so nothing can be missing from before it.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from engine.facts.timestamps import Micros
from engine.inference.change_log import ChangeLog, encode
from engine.inference.clock import EventClock
from engine.inference.conditions import getter
from engine.inference.items import FactItem
from engine.inference.match import Match
from engine.rules.model import MissingPattern
from engine.rules.operators import equality_key

Key = tuple[str | int | float, ...]

_FORGET_ABOVE = 1024
"""Keys are looked through for old ones when their number passes this, and again whenever it doubles."""


class MissingGate:
    """Watches for facts of one `missing` pattern. A node of the alpha network, and a condition on the rule's matches."""

    retains_events = False

    def __init__(
        self, pattern: MissingPattern, address: str, clock: EventClock, changes: ChangeLog, consider: Callable[[Match], None]
    ) -> None:
        self.name = pattern.name
        self.duration = pattern.duration
        self.address = address
        """Names it in the journal: rule, version and pattern."""
        self._clock = clock
        self._changes = changes
        self._consider = consider
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
        if key is None:
            return
        if not item.is_event:
            self._alive[key] = self._alive.get(key, 0) + 1
        self._see(key, item.fact.at_micros)

    def update(self, item: FactItem, old: Mapping[str, Any]) -> None:
        """Still seen, perhaps under another key."""
        before, after = self._key(old), self._key(item.values)
        if before != after:
            if after is not None:
                self._alive[after] = self._alive.get(after, 0) + 1
            self._end(before)
        if after is not None:
            self._see(after, item.fact.at_micros)

    def remove(self, item: FactItem) -> None:
        """A state fact that goes was seen until now; an event was seen when it happened."""
        if not item.is_event:
            self._end(self._key(item.values))

    def _see(self, key: Key, at: Micros) -> None:
        if at > self._seen.get(key, -1):
            self._seen[key] = at
            if self._changes.enabled:
                self._changes.put("seen", self._row(key), lambda: [self.address, list(key), self._seen.get(key, at)])
            if len(self._seen) > self._forget_above:
                self._forget()
        self._reconsider(key)

    def _end(self, key: Key | None) -> None:
        if key is None:
            return
        left = self._alive.get(key, 0) - 1
        if left > 0:
            self._alive[key] = left
            return
        self._alive.pop(key, None)
        self._see(key, self._clock.now)
        self._reconsider(key)

    def _reconsider(self, key: Key) -> None:
        for match in tuple(self._by_key.get(key, ())):
            self._consider(match)

    def _forget(self) -> None:
        edge = self._clock.now - self.duration
        started = self._clock.started or 0
        # What was seen longer ago than `duration` makes no difference to never having been seen, once the start is as far back.
        if started <= edge:
            for key in [key for key, at in self._seen.items() if at <= edge and key not in self._by_key]:
                del self._seen[key]
                self._changes.delete("seen", self._row(key))
        self._forget_above = max(_FORGET_ABOVE, 2 * len(self._seen))

    def _row(self, key: Key) -> str:
        return encode([self.address, list(key)])

    def _key(self, values: Mapping[str, Any]) -> Key | None:
        """What the fact is seen as; None where a field is empty: as in joins, nothing equals nothing."""
        return _key_from(read(values) for read in self._own)

    @property
    def was_seen(self) -> bool:
        """Whether what it looks for was ever seen."""
        return bool(self._seen)

    # -- as a condition ---------------------------------------------------------------------------------------------

    def attach(self, match: Match) -> None:
        """The match asks about its key from now on."""
        key = match.missing_keys[self.name] = _key_from(match.value_of(ref) for ref in self.refs)
        if key is not None:
            self._by_key.setdefault(key, {})[match] = None

    def detach(self, match: Match) -> None:
        """The match is gone."""
        key = match.missing_keys.pop(self.name, None)
        if key is None:
            return
        matches = self._by_key.get(key, {})
        matches.pop(match, None)
        if not matches:
            self._by_key.pop(key, None)

    def missing_since(self, match: Match) -> Micros | None:
        """When it was last seen (or the first moment of all); None while it is being seen."""
        key = match.missing_keys[self.name]
        started = self._clock.started or 0
        if key is None:
            return started
        if key in self._alive:
            return None
        return max(self._seen.get(key, started), started)

    def to_json(self) -> list[tuple[str, list[Any]]]:
        """Everything seen, as it stands in the journal: rows and contents."""
        return [(self._row(key), [self.address, list(key), at]) for key, at in self._seen.items()]

    def restore(self, key: list[Any], at: Micros) -> None:
        """When it was last seen, from the journal."""
        self._seen[tuple(key)] = at


def _key_from(values: Iterable[Any]) -> Key | None:
    parts: list[str | int | float] = []
    for value in values:
        part = equality_key(value)
        if part is None:
            return None
        parts.append(part)
    return tuple(parts)
