"""Sliding windows: how many facts of a group lie within the last so long, by event time.

One window serves every rule that counts the same facts in the same groups; each of them has a threshold of its own: a length and
a number. A count is reached from the fact that brings the number within (now - within, now] to it until the number falls below.
"""

from bisect import bisect_right, insort
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from heapq import heappop, heappush
from typing import Any, NamedTuple, Protocol

from engine.facts.timestamps import SECOND, Micros, format_duration, from_micros
from engine.inference.change_log import ChangeLog, Encoded, encode, encode_text
from engine.inference.clock import NEVER, EventClock
from engine.inference.conditions import getter
from engine.inference.items import SAMPLES, CountItem, FactItem, Identity
from engine.rules.model import Condition, CountPattern, FieldPath

MAX_COUNTED = 10_000
"""Facts of one group that are counted: a storm of 6,000 is counted exactly, and one that never ends takes 3 MB."""

_COMPACT = 512
"""Entries that have left the window are cut off its list when there are so many: rarely enough to cost nothing."""


class CountTarget(Protocol):
    """What learns that a count is reached: a pattern of a rule."""

    def insert(self, item: CountItem) -> None:
        """It is reached from now on."""

    def remove(self, item: CountItem) -> None:
        """It is reached no longer."""


@dataclass(frozen=True, slots=True, eq=False)
class Threshold:
    """When a count of one rule is reached. `name` is unique: rule, version and pattern."""

    name: str
    kind: str
    within: Micros
    at_least: int
    target: CountTarget


class Window:
    """Counts facts in groups. A node of the alpha network."""

    retains_events = False

    def __init__(
        self, kind: str, tests: tuple[Condition, ...], by: tuple[FieldPath, ...], clock: EventClock, changes: ChangeLog
    ) -> None:
        self.key = window_key(kind, tests, by)
        self.by = by
        self.clock = clock
        self.changes = changes
        self.thresholds: list[Threshold] = []
        self.retention: Micros = 0
        self.most = MAX_COUNTED
        """Entries of one group; the oldest go beyond that."""
        self.groups: dict[tuple[Any, ...], Group] = {}
        self._read = [getter(kind, path) for path in by]
        self._sample = [getter(kind, path) for path in (("id",), ("container_id",), ("pid",), ("name",))]

    def add_threshold(self, threshold: Threshold) -> None:
        """Add the threshold of one more rule."""
        self.thresholds.append(threshold)
        self.retention = max(self.retention, threshold.within)
        self.most = max(self.most, threshold.at_least)

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
            # In one go: a count that is reached before and after stays reached, and fires nothing anew.
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
        return item.fact.at_micros <= self.clock.now - self.retention

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

    __slots__ = (
        "_due",
        "_entries",
        "_head",
        "_leaves_at",
        "_release_at",
        "_total",
        "address",
        "key",
        "reached",
        "times",
        "window",
    )

    def __init__(self, window: Window, key: tuple[Any, ...]) -> None:
        self.window = window
        self.key = key
        self.address = encode([window.key, list(key)])
        self.times: list[tuple[Micros, str]] = []
        """(event time, name), sorted; those before `_head` have left."""
        self._head = 0
        self._entries: dict[str, Entry] = {}
        self.reached: dict[Threshold, CountItem] = {}
        self._total = 0
        self._due: list[tuple[int, int]] = [(0, number) for number in range(len(window.thresholds))]
        """When to check which threshold that is not reached, by the number of entries that have come: a heap."""
        self._leaves_at: Micros = NEVER
        """When a timer forgets what has left."""
        self._release_at: dict[Threshold, Micros] = {}
        """When a timer checks whether a threshold that is reached still is."""

    # -- entries come and go ------------------------------------------------------------------------------------------

    def add(self, name: str, entry: Entry) -> None:
        """Count an entry unless it is counted already, and see which thresholds it reaches."""
        if name in self._entries:
            return
        self._store(name, entry)
        changes = self.window.changes
        if changes.enabled:
            changes.put("window", self._row(name), lambda: self._encoded(name, entry))
        # A threshold that is not reached lacks at least one entry: nothing needs a check before so many have come.
        self._total += 1
        if self._due and self._total >= self._due[0][0]:
            self._check_reached()

    def load(self, name: str, entry: Entry) -> None:
        """An entry from the journal."""
        if name not in self._entries:
            self._store(name, entry)

    def _store(self, name: str, entry: Entry) -> None:
        self._entries[name] = entry
        place = (entry.at, name)
        if not self.times or self.times[-1] <= place:
            self.times.append(place)
        else:
            insort(self.times, place, lo=self._head)
        if len(self._entries) > self.window.most:
            self._drop_oldest()
            self._compact()
        self._leave_at(entry.at + self.window.retention)

    def replace(self, name: str, entry: Entry) -> None:
        """The fact of an entry was seen again: it counts with its latest time."""
        known = self._entries.pop(name, None)
        if known is not None:
            self.times.remove((known.at, name))
        self.add(name, entry)
        for threshold in list(self.reached):
            self._check_released(threshold)

    def discard(self, name: str) -> None:
        """An entry counts no longer."""
        known = self._entries.pop(name, None)
        if known is None:
            return
        self.times.remove((known.at, name))
        self._forget(name)
        for threshold in list(self.reached):
            self._check_released(threshold)

    def _forget(self, name: str) -> None:
        changes = self.window.changes
        if changes.enabled:
            changes.delete("window", self._row(name))

    def _encoded(self, name: str, entry: Entry) -> Encoded:
        at, sample, fact_id = entry
        return Encoded(f"{self.address[:-1]},{encode_text(name)},{at},{encode_text(sample)},{encode_text(fact_id)}]")

    def _row(self, name: str) -> str:
        return f"{self.address}\x1f{name}"

    def _leave(self, _: None) -> None:
        """Forget what has left the longest window; this group too when that was all."""
        if self.window.clock.now < self._leaves_at:
            return  # a timer of before a late entry, which had an earlier one
        self._leaves_at = NEVER
        edge = self.window.clock.now - self.window.retention
        while self._head < len(self.times) and self.times[self._head][0] <= edge:
            self._drop_oldest()
        if self._head == len(self.times):
            self.window.groups.pop(self.key, None)
            return
        self._compact()
        # Many leave together rather than each by a timer of its own: nothing is decided by what is forgotten here.
        self._leave_at(max(self.times[self._head][0] + self.window.retention, self.window.clock.now + SECOND))

    def _leave_at(self, due: Micros) -> None:
        if due < self._leaves_at:
            self._leaves_at = due
            self.window.clock.call_at(due, self._leave, None)

    def _drop_oldest(self) -> None:
        name = self.times[self._head][1]
        del self._entries[name]
        self._forget(name)
        self._head += 1

    def _compact(self) -> None:
        if self._head >= _COMPACT:
            del self.times[: self._head]
            self._head = 0

    # -- thresholds are reached and released --------------------------------------------------------------------------

    def count(self, threshold: Threshold) -> int:
        """Entries within (now - within, now]."""
        return len(self.times) - self._first(threshold)

    def _first(self, threshold: Threshold) -> int:
        edge = self.window.clock.now - threshold.within
        return bisect_right(self.times, (edge, "\U0010ffff"), lo=self._head)

    def _check_reached(self) -> None:
        """Check the thresholds that may be reached by now; each is checked again when it can be at the earliest."""
        while self._due and self._due[0][0] <= self._total:
            _, number = heappop(self._due)
            threshold = self.window.thresholds[number]
            if threshold in self.reached:
                continue
            lacking = threshold.at_least - self.count(threshold)
            if lacking <= 0:
                self._reach(threshold, self.window.clock.next_seq())
            else:
                heappush(self._due, (self._total + lacking, number))

    def _reach(self, threshold: Threshold, seq: int) -> None:
        identity: Identity = ("count", threshold.name, *map(str, self.key))
        item = self.reached[threshold] = CountItem(identity, seq, threshold.kind, _Counted(self, threshold))
        self.window.changes.put(
            "count", self._address_of(threshold), lambda: [self.window.key, list(self.key), threshold.name, seq]
        )
        self._wait_for_release(threshold)
        threshold.target.insert(item)

    def restore_reached(self, threshold: Threshold, seq: int) -> None:
        """A threshold that was reached when the journal was written."""
        if threshold not in self.reached and self.count(threshold) >= threshold.at_least:
            self._reach(threshold, seq)

    def after_restore(self) -> None:
        """See whether a count is reached of which the journal knew nothing: a rule that is new, or changed."""
        self._check_reached()

    def _wait_for_release(self, threshold: Threshold) -> None:
        # Below the threshold when the at_least-th newest leaves.
        falls = self.times[-threshold.at_least][0] + threshold.within
        pending = self._release_at.get(threshold)
        if pending is None or falls < pending:  # one timer: a count that goes on moves the moment on
            self._release_at[threshold] = falls
            self.window.clock.call_at(falls, self._release_due, threshold)

    def _release_due(self, threshold: Threshold) -> None:
        self._release_at.pop(threshold, None)
        self._check_released(threshold)

    def _check_released(self, threshold: Threshold) -> None:
        item = self.reached.get(threshold)
        if item is None:
            return
        if self.count(threshold) >= threshold.at_least:
            self._wait_for_release(threshold)
            return
        del self.reached[threshold]
        heappush(self._due, (self._total + 1, self.window.thresholds.index(threshold)))
        self.window.changes.delete("count", self._address_of(threshold))
        threshold.target.remove(item)

    def _address_of(self, threshold: Threshold) -> str:
        return encode([self.address, threshold.name])

    # -- what the journal holds ----------------------------------------------------------------------------------------

    def to_json_entries(self) -> Iterator[tuple[str, list[Any]]]:
        """Rows and contents for the journal."""
        for name, entry in self._entries.items():
            yield self._row(name), [self.window.key, list(self.key), name, *entry]

    def to_json_reached(self) -> Iterator[tuple[str, list[Any]]]:
        """Rows and contents of the thresholds that are reached."""
        for threshold, item in self.reached.items():
            yield self._address_of(threshold), [self.window.key, list(self.key), threshold.name, item.seq]

    # -- what rules see -------------------------------------------------------------------------------------------------

    def values(self, threshold: Threshold) -> dict[str, Any]:
        """What `$name.…` of a count pattern refers to."""
        entries = self.times[self._first(threshold) :]
        values: dict[str, Any] = {}
        for path, part in zip(self.window.by, self.key, strict=True):
            if len(path) == 1:
                values[path[0]] = part
            else:
                values.setdefault(path[0], {})[path[1]] = part
        values["count"] = len(entries)
        values["within"] = format_duration(threshold.within)
        if entries:
            first, last = entries[0][0], entries[-1][0]
            values["first_at"], values["last_at"] = from_micros(first), from_micros(last)
            values["per_minute"] = _per_minute(len(entries), last - first, threshold.within)
            values["samples"] = [self._entries[name].sample for _, name in entries[-SAMPLES:]]
        else:
            values |= {"first_at": None, "last_at": None, "per_minute": 0.0, "samples": []}
        return values

    def evidence(self, threshold: Threshold) -> dict[str, Any]:
        """The same, as JSON."""
        values = self.values(threshold)
        for name in ("first_at", "last_at"):
            if values[name] is not None:
                values[name] = values[name].strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        return values

    def newest_ids(self, threshold: Threshold, most: int) -> Iterator[str]:
        """Ids of the newest facts within the window, oldest first."""
        first = max(self._first(threshold), len(self.times) - most)
        for _, name in self.times[first:]:
            yield self._entries[name].fact_id


class _Counted(NamedTuple):
    """A group under one threshold, as a count pattern binds it."""

    group: Group
    threshold: Threshold

    def values(self) -> dict[str, Any]:
        """What `$name.…` refers to, at this moment."""
        return self.group.values(self.threshold)

    def evidence(self) -> dict[str, Any]:
        """The same, as JSON."""
        return self.group.evidence(self.threshold)

    def newest_ids(self, most: int) -> Iterator[str]:
        """Ids of the newest facts within the window, oldest first."""
        return self.group.newest_ids(self.threshold, most)


def window_key(kind: str, tests: tuple[Condition, ...], by: tuple[FieldPath, ...]) -> str:
    """Names a window by what it counts, as journals of 0.1.0 do, in which a condition was called a test."""
    conditions = sorted(repr(test).replace("Condition(", "Test(", 1) for test in tests)
    return sha256(repr((kind, conditions, by)).encode()).hexdigest()[:16]


def threshold_name(rule: str, version: str, pattern: CountPattern) -> str:
    """Names the threshold of a rule's pattern."""
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
