"""Sliding windows: how many facts of a group lie within the last so long, by event time.

One window serves every rule that counts the same facts in the same groups; each of them watches it with a length and a threshold
of its own. A count holds from the fact that brings the number within (now - within, now] to the threshold until it falls below.
"""

from bisect import bisect_right, insort
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from heapq import heappop, heappush
from typing import Any, NamedTuple, Protocol

from engine.facts.timestamps import SECOND, Micros, format_duration, from_micros
from engine.inference.items import SAMPLES, CountItem, FactItem, Identity
from engine.inference.ledger import encode
from engine.inference.moment import Moment
from engine.inference.predicates import getter
from engine.rules.model import CountPattern, FieldPath, Test

_COMPACT = 512
"""Entries that have left the window are cut off its list when there are so many: rarely enough to cost nothing."""


class CountTarget(Protocol):
    """Who wants to know that a count holds: a pattern of a rule."""

    def insert(self, item: CountItem) -> None:
        """It holds from now on."""

    def remove(self, item: CountItem) -> None:
        """It holds no longer."""


@dataclass(frozen=True, slots=True, eq=False)
class Watcher:
    """One rule's interest in a window. `name` is unique: rule, version and pattern."""

    name: str
    kind: str
    within: Micros
    at_least: int
    target: CountTarget


class Window:
    """Counts facts in groups. A node of the alpha network."""

    keeps = False

    def __init__(self, kind: str, tests: tuple[Test, ...], by: tuple[FieldPath, ...], moment: Moment) -> None:
        self.key = window_key(kind, tests, by)
        self.by = by
        self.moment = moment
        self.watchers: list[Watcher] = []
        self.retention: Micros = 0
        self.groups: dict[tuple[Any, ...], Group] = {}
        self._read = [getter(kind, path) for path in by]
        self._sample = [getter(kind, path) for path in (("id",), ("container_id",), ("pid",), ("name",))]

    def watch(self, watcher: Watcher) -> None:
        """Add a rule's interest."""
        self.watchers.append(watcher)
        self.retention = max(self.retention, watcher.within)

    def insert(self, item: FactItem) -> None:
        """Count a fact, once."""
        if self._too_old(item):
            return
        self._group(self._group_of(item.values)).add(_name(item), self._entry(item))

    def update(self, item: FactItem, old: Mapping[str, Any]) -> None:
        """A state fact counts with its latest time."""
        before, after = self._group_of(old), self._group_of(item.values)
        if before != after or self._too_old(item):
            self._drop(before, item)
            self.insert(item)
        elif old.get("at") != item.values.get("at"):
            # In one go: a count that holds before and after goes on holding, and fires nothing anew.
            self._group(after).replace(_name(item), self._entry(item))

    def remove(self, item: FactItem) -> None:
        """A state fact that is gone or no longer matches does not count. An event has happened, whatever becomes of its fact."""
        if not item.is_event:
            self._drop(self._group_of(item.values), item)

    def _drop(self, key: tuple[Any, ...], item: FactItem) -> None:
        group = self.groups.get(key)
        if group is not None:
            group.discard(_name(item))

    def _group_of(self, values: Mapping[str, Any]) -> tuple[Any, ...]:
        return tuple([_hashable(read(values)) for read in self._read])

    def _group(self, key: tuple[Any, ...]) -> "Group":
        group = self.groups.get(key)
        if group is None:
            group = self.groups[key] = Group(self, key)
        return group

    def _too_old(self, item: FactItem) -> bool:
        return item.fact.at_micros <= self.moment.now - self.retention

    def _entry(self, item: FactItem) -> "Entry":
        return Entry(item.fact.at_micros, self._sample_of(item), item.fact.fact_id)

    def _sample_of(self, item: FactItem) -> str:
        for read in self._sample:
            value = read(item.values)
            if value not in (None, ""):
                return str(value)
        return item.fact.fact_id

    def restore_entry(self, key: list[Any], name: str, entry: "Entry") -> None:
        """Take back an entry from the journal; nothing is decided."""
        self._group(tuple(key)).load(name, entry)


class Entry(NamedTuple):
    """One fact that is counted."""

    at: Micros
    sample: str
    fact_id: str


class Group:
    """The entries of one group, sorted by time."""

    __slots__ = ("_due", "_entries", "_head", "_leaving", "_total", "address", "holding", "key", "times", "window")

    def __init__(self, window: Window, key: tuple[Any, ...]) -> None:
        self.window = window
        self.key = key
        self.address = encode([window.key, list(key)])
        self.times: list[tuple[Micros, str]] = []
        """(event time, name), sorted; those before `_head` have left."""
        self._head = 0
        self._entries: dict[str, Entry] = {}
        self.holding: dict[Watcher, CountItem] = {}
        self._total = 0
        self._due: list[tuple[int, int]] = [(0, number) for number in range(len(window.watchers))]
        """When to look at which watcher that does not hold, by the number of entries that have come: a heap."""
        self._leaving = False

    # -- entries come and go ------------------------------------------------------------------------------------------

    def add(self, name: str, entry: Entry) -> None:
        """Count an entry unless it is counted already, and see which counts it makes hold."""
        if name in self._entries:
            return
        self._keep(name, entry)
        ledger = self.window.moment.ledger
        if ledger.kept:
            ledger.put("window", self._row(name), lambda: [self.window.key, list(self.key), name, *entry])
        # A count that does not hold lacks at least one entry; each entry adds one: nothing needs a look before so many have come.
        self._total += 1
        if self._due and self._total >= self._due[0][0]:
            self._look_for_holding()

    def load(self, name: str, entry: Entry) -> None:
        """An entry from the journal."""
        if name not in self._entries:
            self._keep(name, entry)

    def _keep(self, name: str, entry: Entry) -> None:
        self._entries[name] = entry
        place = (entry.at, name)
        if not self.times or self.times[-1] <= place:
            self.times.append(place)
        else:
            insort(self.times, place, lo=self._head)
        if not self._leaving:
            self._leaving = True
            self.window.moment.call_at(entry.at + self.window.retention, self._leave, None)

    def replace(self, name: str, entry: Entry) -> None:
        """The fact of an entry was seen again: it counts with its latest time."""
        known = self._entries.pop(name, None)
        if known is not None:
            self.times.remove((known.at, name))
        self.add(name, entry)
        for watcher in list(self.holding):
            self._look_for_falling(watcher)

    def discard(self, name: str) -> None:
        """An entry counts no longer."""
        known = self._entries.pop(name, None)
        if known is None:
            return
        self.times.remove((known.at, name))
        self._forget(name)
        for watcher in list(self.holding):
            self._look_for_falling(watcher)

    def _forget(self, name: str) -> None:
        ledger = self.window.moment.ledger
        if ledger.kept:
            ledger.delete("window", self._row(name))

    def _row(self, name: str) -> str:
        return f"{self.address}\x1f{name}"

    def _leave(self, _: None) -> None:
        """Forget what has left the longest window; this group too when that was all."""
        self._leaving = False
        edge = self.window.moment.now - self.window.retention
        while self._head < len(self.times) and self.times[self._head][0] <= edge:
            name = self.times[self._head][1]
            del self._entries[name]
            self._forget(name)
            self._head += 1
        if self._head == len(self.times):
            self.window.groups.pop(self.key, None)
            return
        if self._head >= _COMPACT:
            del self.times[: self._head]
            self._head = 0
        self._leaving = True
        # Many leave together rather than each by a timer of its own: nothing is decided by what is forgotten here.
        self.window.moment.call_at(
            max(self.times[self._head][0] + self.window.retention, self.window.moment.now + SECOND), self._leave, None
        )

    # -- counts begin and cease to hold -------------------------------------------------------------------------------

    def count(self, watcher: Watcher) -> int:
        """Entries within (now - within, now]."""
        return len(self.times) - self._first(watcher)

    def _first(self, watcher: Watcher) -> int:
        edge = self.window.moment.now - watcher.within
        return bisect_right(self.times, (edge, "\U0010ffff"), lo=self._head)

    def _look_for_holding(self) -> None:
        """Look at the watchers whose count may hold by now; each is looked at again when it can hold at the earliest."""
        while self._due and self._due[0][0] <= self._total:
            _, number = heappop(self._due)
            watcher = self.window.watchers[number]
            if watcher in self.holding:
                continue
            lacking = watcher.at_least - self.count(watcher)
            if lacking <= 0:
                self._hold(watcher, self.window.moment.next_seq())
            else:
                heappush(self._due, (self._total + lacking, number))

    def _hold(self, watcher: Watcher, seq: int) -> None:
        identity: Identity = ("count", watcher.name, *map(str, self.key))
        item = self.holding[watcher] = CountItem(identity, seq, self, watcher)
        self.window.moment.ledger.put(
            "count", self._address_of(watcher), lambda: [self.window.key, list(self.key), watcher.name, seq]
        )
        self._wait_for_falling(watcher)
        watcher.target.insert(item)

    def restore_holding(self, watcher: Watcher, seq: int) -> None:
        """A count that held when the journal was written."""
        if watcher not in self.holding and self.count(watcher) >= watcher.at_least:
            self._hold(watcher, seq)

    def after_restore(self) -> None:
        """See whether a count holds of which the journal knew nothing: a rule that is new, or changed."""
        self._look_for_holding()

    def _wait_for_falling(self, watcher: Watcher) -> None:
        # Below the threshold when the at_least-th newest leaves.
        falls = self.times[-watcher.at_least][0] + watcher.within
        self.window.moment.call_at(falls, self._look_for_falling, watcher)

    def _look_for_falling(self, watcher: Watcher) -> None:
        item = self.holding.get(watcher)
        if item is None:
            return
        if self.count(watcher) >= watcher.at_least:
            self._wait_for_falling(watcher)
            return
        del self.holding[watcher]
        heappush(self._due, (self._total + 1, self.window.watchers.index(watcher)))
        self.window.moment.ledger.delete("count", self._address_of(watcher))
        watcher.target.remove(item)

    def _address_of(self, watcher: Watcher) -> str:
        return encode([self.address, watcher.name])

    # -- what is kept ---------------------------------------------------------------------------------------------------

    def saved_entries(self) -> Iterator[tuple[str, list[Any]]]:
        """Rows and contents for the journal."""
        for name, entry in self._entries.items():
            yield self._row(name), [self.window.key, list(self.key), name, *entry]

    def saved_holding(self) -> Iterator[tuple[str, list[Any]]]:
        """Rows and contents of the counts that hold."""
        for watcher, item in self.holding.items():
            yield self._address_of(watcher), [self.window.key, list(self.key), watcher.name, item.seq]

    # -- what it tells --------------------------------------------------------------------------------------------------

    def values(self, watcher: Watcher) -> dict[str, Any]:
        """What `$name.…` of a count pattern refers to."""
        entries = self.times[self._first(watcher) :]
        values: dict[str, Any] = {}
        for path, part in zip(self.window.by, self.key, strict=True):
            if len(path) == 1:
                values[path[0]] = part
            else:
                values.setdefault(path[0], {})[path[1]] = part
        values["count"] = len(entries)
        values["within"] = format_duration(watcher.within)
        if entries:
            first, last = entries[0][0], entries[-1][0]
            values["first_at"], values["last_at"] = from_micros(first), from_micros(last)
            values["per_minute"] = _per_minute(len(entries), last - first, watcher.within)
            values["samples"] = [self._entries[name].sample for _, name in entries[-SAMPLES:]]
        else:
            values |= {"first_at": None, "last_at": None, "per_minute": 0.0, "samples": []}
        return values

    def evidence(self, watcher: Watcher) -> dict[str, Any]:
        """The same, as JSON."""
        values = self.values(watcher)
        for name in ("first_at", "last_at"):
            if values[name] is not None:
                values[name] = values[name].strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        return values

    def newest_ids(self, watcher: Watcher, most: int) -> Iterator[str]:
        """Ids of the newest facts within the window, oldest first."""
        first = max(self._first(watcher), len(self.times) - most)
        for _, name in self.times[first:]:
            yield self._entries[name].fact_id


def window_key(kind: str, tests: tuple[Test, ...], by: tuple[FieldPath, ...]) -> str:
    """Names a window by what it counts."""
    return sha256(repr((kind, sorted(map(repr, tests)), by)).encode()).hexdigest()[:16]


def watcher_name(rule: str, version: str, pattern: CountPattern) -> str:
    """Names a rule's interest."""
    return f"{rule}@{version}/{pattern.name}"


def _name(item: FactItem) -> str:
    """What makes it count once: an event's id, a state fact's kind and key."""
    return item.fact.fact_id if item.is_event else "\x1f".join(item.identity)


def _hashable(value: Any) -> Any:
    return encode(value) if isinstance(value, list | dict) else value


def _per_minute(count: int, span: Micros, within: Micros) -> float:
    """Rate between the first and the last; over the whole window where all came at once."""
    if span <= 0:
        return round(count * 60 * SECOND / within, 1)
    return round((count - 1) * 60 * SECOND / span, 1)
