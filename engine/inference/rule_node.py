"""A rule at work: its patterns, the combinations of facts that match, and since when.

A match is fired once for each version: the values of the fields that the rule tests or uses (refraction). Knows nothing of
`Core`: what rules share is handed in.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from engine.facts.timestamps import Micros
from engine.inference.agenda import Agenda
from engine.inference.change_log import ChangeLog
from engine.inference.clock import EventClock
from engine.inference.conditions import Getter, getter
from engine.inference.items import FactItem, Item
from engine.inference.joins import Kind, new_combination
from engine.inference.joins.candidates import Keys, Structure
from engine.inference.match import Match, value_in
from engine.inference.missing import MissingGate
from engine.inference.references import used_paths
from engine.inference.support import Support
from engine.rules.model import Condition, CountPattern, FactPattern, FieldPath, MissingPattern, Ref, Rule
from engine.rules.operators import equality_key, holds


@dataclass(frozen=True, slots=True)
class Parts:
    """What all rules of one core share."""

    clock: EventClock
    changes: ChangeLog
    agenda: Agenda
    support: Support
    combination: Kind | None = None
    """How joins are combined; None: as this process does."""


class Slot:
    """A pattern of a rule that binds an item: a node of the alpha network, or the target of a count."""

    retains_events = True

    def __init__(self, node: "RuleNode", number: int, pattern: FactPattern | CountPattern) -> None:
        self.node = node
        self.number = number
        self.name = pattern.name
        self.ref_tests = [test for test in pattern.tests if test.refs]
        self.join_paths: list[FieldPath] = []
        self._join: list[Getter] = []
        self._relevant: list[Getter] = []
        self._used: list[Getter] = []
        self.kind = pattern.kind if isinstance(pattern, FactPattern) else ""
        self.passing = 0
        """How many items pass the pattern's own conditions."""
        self._keys: dict[int, Keys] = {}
        """Join fields of items that may change, as they were when they joined."""
        self.matches: dict[int, dict[Match, None]] = {}
        """By the number of the item."""

    def compile(self, join_paths: list[FieldPath], relevant: Iterable[FieldPath], used: Iterable[FieldPath]) -> None:
        """Learn which fields join, which decide a combination, and which make a version."""
        self.join_paths = join_paths
        self._join = [getter(self.kind, path) for path in join_paths]
        self._relevant = [getter(self.kind, path) for path in sorted(dict.fromkeys(relevant))]
        self._used = [getter(self.kind, path) for path in sorted(dict.fromkeys(used))]

    def join_keys(self, item: Item) -> Keys | None:
        """Its join fields; None when one is empty: nothing is equal to nothing."""
        if not self._join:
            return ()
        keys: list[str | int | float] = []
        values = item.values
        for read in self._join:
            key = equality_key(read(values))
            if key is None:
                return None
            keys.append(key)
        return tuple(keys)

    def joined(self, item: Item, keys: Keys) -> None:
        """Remember the join fields of an item that may have others when it goes."""
        if keys and not (isinstance(item, FactItem) and item.is_event):
            self._keys[item.seq] = keys

    def joined_keys(self, item: Item) -> Keys | None:
        """The join fields with which an item joined, None when it did not."""
        if not self._join:
            return ()
        if isinstance(item, FactItem) and item.is_event:
            return self.join_keys(item)
        return self._keys.get(item.seq)

    def forget_keys(self, item: Item) -> None:
        """The item joins no longer."""
        self._keys.pop(item.seq, None)

    def version(self, item: Item) -> list[Any]:
        """Values that make a version of the item for this rule; nothing for what never changes."""
        return [] if item.is_event else [read(item.values) for read in self._used]

    def insert(self, item: Item) -> None:
        """The item passes the pattern's own tests."""
        self.passing += 1
        self.node.on_item_added(self, item)

    def update(self, item: FactItem, old: Mapping[str, Any]) -> None:
        """It has other values now."""
        values = item.values
        if any(read(old) != read(values) for read in self._relevant):
            self.node.on_item_changed(self, item)
        elif any(read(old) != read(values) for read in self._used):
            for match in tuple(self.matches.get(item.seq, ())):
                self.node.consider(match)

    def remove(self, item: Item) -> None:
        """It is gone."""
        self.passing -= 1
        self.node.on_item_removed(self, item)


class RuleNode:
    """One rule: takes items from its slots, makes matches, and hands those that may fire to the agenda."""

    def __init__(self, rule: Rule, parts: Parts) -> None:
        self.rule = rule
        self.parts = parts
        self.restoring = False
        """While facts come back from the journal, nothing fires."""
        binding: list[FactPattern | CountPattern] = [p for p in rule.when if not isinstance(p, MissingPattern)]
        self.slots = [Slot(self, number, pattern) for number, pattern in enumerate(binding)]
        self._by_name = {slot.name: slot for slot in self.slots}
        self._bindings = {slot.name: (slot.number, slot.kind) for slot in self.slots}
        self.unless: list[UnlessSlot] = []
        self.gates = [
            MissingGate(p, f"{rule.id}@{rule.version}/{p.name}", parts.clock, parts.changes, self.consider)
            for p in rule.when
            if isinstance(p, MissingPattern)
        ]
        self.matches: dict[tuple[int, ...], Match] = {}
        """By the numbers of its items."""
        self.blocked: dict[Match, None] = {}
        """Matches that an `unless` holds back."""
        self._compared: list[tuple[Slot, Condition]] = []
        """Conditions with references that are no join."""
        structure = self._compile()
        self._combination = new_combination(structure, self._keys_of, parts.combination) if len(self.slots) > 1 else None

    def _compile(self) -> Structure:
        """Spread the references of the rule over its slots."""
        paths: dict[str, list[FieldPath]] = {slot.name: [] for slot in self.slots}
        relevant: dict[str, dict[FieldPath, None]] = {slot.name: {} for slot in self.slots}
        equal: list[tuple[tuple[int, int], tuple[int, int]]] = []

        def field(slot: Slot, path: FieldPath) -> tuple[int, int]:
            if path not in paths[slot.name]:
                paths[slot.name].append(path)
            return slot.number, paths[slot.name].index(path)

        for slot in self.slots:
            for test in slot.ref_tests:
                relevant[slot.name][test.path] = None
                for ref in test.refs:
                    relevant[ref.binding][ref.path] = None
                if test.op == "eq" and len(test.values) == 1:
                    mine, its = field(slot, test.path), field(self._by_name[test.refs[0].binding], test.refs[0].path)
                    equal.append((max(mine, its), min(mine, its)))
                else:
                    self._compared.append((slot, test))
        for gate in self.gates:
            for ref in gate.refs:
                relevant[ref.binding][ref.path] = None
        used = used_paths(self.rule)
        for slot in self.slots:
            slot.compile(paths[slot.name], relevant[slot.name], used.get(slot.name, ()))
        return Structure(len(self.slots), tuple(sorted(dict.fromkeys(equal))))

    def start(self) -> None:
        """A rule of nothing but `missing` has one match from the first moment on."""
        if not self.slots:
            self._add_match(())

    def retire(self) -> None:
        """The rule is no longer in force."""
        if self._combination is not None:
            self._combination.close()

    # -- combinations -------------------------------------------------------------------------------------------------

    def on_item_added(self, slot: Slot, item: Item) -> None:
        """Make the matches that an item completes."""
        for items in self._combinations(slot, item):
            self._add_match(items)

    def on_item_removed(self, slot: Slot, item: Item) -> None:
        """Drop the matches that an item was part of."""
        self._separate(slot, item)
        for match in tuple(slot.matches.get(item.seq, ())):
            self._drop_match(match)

    def on_item_changed(self, slot: Slot, item: Item) -> None:
        """Fields changed that decide which combinations there are: those that are still there go on, others come and go."""
        before = dict(slot.matches.get(item.seq, {}))
        self._separate(slot, item)
        for items in self._combinations(slot, item):
            match = self.matches.get(tuple(part.seq for part in items))
            if match is None:
                self._add_match(items)
                continue
            before.pop(match, None)
            for gate in self.gates:
                gate.detach(match)
                gate.attach(match)
            self.consider(match)
        for match in before:
            self._drop_match(match)

    def _separate(self, slot: Slot, item: Item) -> None:
        """The item joins nothing any more."""
        if self._combination is not None:
            keys = slot.joined_keys(item)
            if keys is not None:
                self._combination.remove(slot.number, item, keys)
                slot.forget_keys(item)

    def _keys_of(self, pattern: int, item: Item) -> Keys:
        keys = self.slots[pattern].joined_keys(item)
        assert keys is not None  # noqa: S101 - asked only of items that joined
        return keys

    def _combinations(self, slot: Slot, item: Item) -> list[tuple[Item, ...]]:
        if self._combination is None:
            return [(item,)]
        keys = slot.join_keys(item)
        if keys is None:
            return []
        slot.joined(item, keys)
        combined = self._combination.insert(slot.number, item, keys)
        # Two patterns never bind the same fact; and comparisons that are no join are made here, by one set of operators.
        found = [items for items in combined if len(dict.fromkeys(map(id, items))) == len(items) and self._refs_hold(items)]
        if len(found) > 1:
            found.sort(key=lambda items: [part.seq for part in items])
        return found

    def _refs_hold(self, items: tuple[Item, ...]) -> bool:
        return not self._compared or all(
            self.test_holds(test, slot.kind, items[slot.number].values, items) for slot, test in self._compared
        )

    def test_holds(self, test: Condition, kind: str, values: Mapping[str, Any], items: tuple[Item, ...]) -> bool:
        """A test with references, against what other patterns bound."""
        value = getter(kind, test.path)(values)
        others = tuple(value_in(items, self._bindings, other) if isinstance(other, Ref) else other for other in test.values)
        return holds(test.op, value, others)

    def unblock(self) -> None:
        """What held matches back may be over."""
        blocked, self.blocked = self.blocked, {}
        self.parts.agenda.push_all(blocked)

    # -- a match's life -----------------------------------------------------------------------------------------------

    def _add_match(self, items: tuple[Item, ...]) -> None:
        match = Match(self.rule, self._bindings, items)
        self.matches[match.order] = match
        for slot, item in zip(self.slots, items, strict=True):
            slot.matches.setdefault(item.seq, {})[match] = None
        for gate in self.gates:
            gate.attach(match)
        if not self.restoring:
            self.consider(match)

    def _drop_match(self, match: Match) -> None:
        del self.matches[match.order]
        for slot, item in zip(self.slots, match.items, strict=True):
            matches = slot.matches[item.seq]
            del matches[match]
            if not matches:
                del slot.matches[item.seq]
        for gate in self.gates:
            gate.detach(match)
        self.blocked.pop(match, None)
        self.parts.support.lost(match)
        self.parts.changes.delete("match", match.id)

    def alive(self, match: Match) -> bool:
        """Whether the match is still there."""
        return self.matches.get(match.order) is match

    def consider(self, match: Match) -> None:
        """Something of the match changed: does everything hold, for long enough, and has it not fired on this before?"""
        if not self.alive(match):
            return
        now = self.parts.clock.now
        for gate in self.gates:
            last = gate.missing_since(match)
            if last is None or last + gate.duration > now:
                if match.since is not None:
                    self._suspend(match)
                if last is not None:
                    self._consider_at(last + gate.duration, match)
                return
        if match.since is None:
            match.since = now
            self.save(match)
        due = match.since + self.rule.hold
        if due > now:
            self._consider_at(due, match)
        elif match.fired != self.version(match):
            self.parts.agenda.push(match)

    def _consider_at(self, due: Micros, match: Match) -> None:
        """One timer a match: what is seen again and again moves the moment on, and is looked at when the first one comes."""
        if match.wakes is None or due < match.wakes:
            match.wakes = due
            self.parts.clock.call_at(due, self._wake, match)

    def _wake(self, match: Match) -> None:
        match.wakes = None
        self.consider(match)

    def ready(self, match: Match) -> bool:
        """Its turn has come: does it still hold, unfired, and does no `unless` hold it back?"""
        if not self.alive(match) or match.since is None or match.since + self.rule.hold > self.parts.clock.now:
            return False
        if match.fired == self.version(match):
            return False
        if any(slot.holds_back(match) for slot in self.unless):
            self.blocked[match] = None
            return False
        return True

    def _suspend(self, match: Match) -> None:
        """The combination is there, but what was missing was seen: as if the match had gone."""
        match.since = None
        match.fired = None
        self.blocked.pop(match, None)
        self.parts.support.lost(match)
        self.save(match)

    def version(self, match: Match) -> str:
        """Names the values on which the rule would fire: what it tests and uses. What is missing has none while it is missing."""
        if match.is_constant:
            return "-"
        content = [slot.version(item) for slot, item in zip(self.slots, match.items, strict=True)]
        if not any(content):
            return "-"
        return sha256(repr(content).encode("utf-8", "surrogatepass")).hexdigest()[:16]

    def save(self, match: Match) -> None:
        """Have the journal write the match as it is now."""
        if self.parts.changes.enabled:
            self.parts.changes.put("match", match.id, match.to_json)


class UnlessSlot:
    """A pattern of `unless`: while one of its items matches, the rule waits."""

    retains_events = True

    def __init__(self, node: RuleNode, pattern: FactPattern | CountPattern) -> None:
        self._node = node
        self._kind = pattern.kind if isinstance(pattern, FactPattern) else ""
        self._ref_tests = [test for test in pattern.tests if test.refs]
        self._items: dict[int, Item] = {}

    def insert(self, item: Item) -> None:
        """From now on."""
        self._items[item.seq] = item

    def update(self, item: FactItem, old: Mapping[str, Any]) -> None:
        """It may hold back others than before."""
        del item, old
        self._node.unblock()

    def remove(self, item: Item) -> None:
        """No longer."""
        del self._items[item.seq]
        self._node.unblock()

    def holds_back(self, match: Match) -> bool:
        """Whether an item matches, given what the rule's patterns bound."""
        if not self._ref_tests:
            return bool(self._items)
        return any(
            all(self._node.test_holds(test, self._kind, item.values, match.items) for test in self._ref_tests)
            for item in self._items.values()
        )
