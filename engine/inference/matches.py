"""A rule at work: its patterns, the combinations of facts that match, and since when.

A match is named by what its patterns bound. It is fired once for each version of that: a version is the values of the fields that
the rule tests or uses (refraction). What the rule did on it lives as long as the match does (support).
"""

from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from engine.facts.timestamps import Micros
from engine.inference.absence import MissingGate
from engine.inference.items import FactItem, Identity, Item
from engine.inference.joins import Joiner, Structure, join_text
from engine.inference.ledger import encode
from engine.inference.predicates import Getter, getter, holds
from engine.inference.references import used_paths
from engine.rules.model import CountPattern, FactPattern, FieldPath, MissingPattern, Ref, Rule, Test

if TYPE_CHECKING:
    from engine.inference.core import Core


class Match:
    """One combination of facts that matches a rule."""

    __slots__ = ("activation", "asserted", "fired", "gate_keys", "id", "items", "key", "node", "queued", "raised", "since")

    def __init__(self, node: "RuleNode", items: tuple[Item, ...]) -> None:
        self.node = node
        self.items = items
        self.key = tuple(item.identity for item in items)
        self.id = encode([node.rule.id, node.rule.version, self.key])
        self.since: Micros | None = None
        """Since when everything holds that the rule asks for, None while a `missing` does not."""
        self.fired: str | None = None
        """Version on which it fired last."""
        self.activation = ""
        self.raised: str | None = None
        """Key of the alert that it supports."""
        self.asserted: set[Identity] = set()
        """Facts that live on its support."""
        self.queued = False
        self.gate_keys: dict[str, tuple[Any, ...]] = {}

    @property
    def order(self) -> tuple[int, ...]:
        """Places in which its items entered: settles the order within a rule."""
        return tuple(item.seq for item in self.items)

    def saved(self) -> list[Any]:
        """As the journal keeps it."""
        return [self.id, self.since, self.fired, self.activation, self.raised, sorted(map(list, self.asserted))]


class Slot:
    """A pattern of a rule that binds an item: a node of the alpha network, or the target of a count."""

    keeps = True

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
        self.items: dict[int, Item] = {}
        self.matches: dict[Identity, dict[Match, None]] = {}

    def compile(self, join_paths: list[FieldPath], relevant: Iterable[FieldPath], used: Iterable[FieldPath]) -> None:
        """Learn which fields join, which decide a combination, and which make a version."""
        self.join_paths = join_paths
        self._join = [getter(self.kind, path) for path in join_paths]
        self._relevant = [getter(self.kind, path) for path in sorted(set(relevant))]
        self._used = [getter(self.kind, path) for path in sorted(set(used))]

    def join_keys(self, item: Item) -> list[str] | None:
        """Its join fields as texts; None when one is empty: nothing is equal to nothing."""
        keys: list[str] = []
        values = item.values if self._join else {}
        for read in self._join:
            text = join_text(read(values))
            if text is None:
                return None
            keys.append(text)
        return keys

    def version(self, item: Item) -> list[Any]:
        """Values that make a version of the item for this rule; nothing for what never changes."""
        return [] if item.is_event else [read(item.values) for read in self._used]

    def insert(self, item: Item) -> None:
        """The item passes the pattern's own tests."""
        self.items[item.seq] = item
        self.node.item_came(self, item)

    def update(self, item: FactItem, old: Mapping[str, Any]) -> None:
        """It has other values now."""
        values = item.values
        if any(read(old) != read(values) for read in self._relevant):
            self.node.item_changed(self, item)
        elif any(read(old) != read(values) for read in self._used):
            for match in tuple(self.matches.get(item.identity, ())):
                self.node.consider(match)

    def remove(self, item: Item) -> None:
        """It is gone."""
        del self.items[item.seq]
        self.node.item_went(self, item)


class RuleNode:
    """One rule: takes items from its slots, makes matches, and hands those that may fire to the agenda."""

    def __init__(self, rule: Rule, core: "Core") -> None:
        self.rule = rule
        self.core = core
        binding: list[FactPattern | CountPattern] = [p for p in rule.when if not isinstance(p, MissingPattern)]
        self.slots = [Slot(self, number, pattern) for number, pattern in enumerate(binding)]
        self._by_name = {slot.name: slot for slot in self.slots}
        self.unless: list[UnlessSlot] = []
        self.gates = [MissingGate(self, p, core.moment) for p in rule.when if isinstance(p, MissingPattern)]
        self.matches: dict[tuple[Identity, ...], Match] = {}
        self.blocked: dict[Match, None] = {}
        """Matches that an `unless` holds back."""
        self.retired = False
        structure = self._compile()
        self._joiner: Joiner | None = core.joiners.take(structure) if len(self.slots) > 1 else None

    def _compile(self) -> Structure:
        """Spread the references of the rule over its slots."""
        paths: dict[str, list[FieldPath]] = {slot.name: [] for slot in self.slots}
        relevant: dict[str, set[FieldPath]] = {slot.name: set() for slot in self.slots}
        equal: list[tuple[tuple[int, int], tuple[int, int]]] = []

        def field(slot: Slot, path: FieldPath) -> tuple[int, int]:
            if path not in paths[slot.name]:
                paths[slot.name].append(path)
            return slot.number, paths[slot.name].index(path)

        for slot in self.slots:
            for test in slot.ref_tests:
                relevant[slot.name].add(test.path)
                for ref in test.refs:
                    relevant[ref.binding].add(ref.path)
                if test.op == "eq" and len(test.values) == 1:
                    mine, its = field(slot, test.path), field(self._by_name[test.refs[0].binding], test.refs[0].path)
                    equal.append((max(mine, its), min(mine, its)))
        for gate in self.gates:
            for ref in gate.refs:
                relevant[ref.binding].add(ref.path)
        used = used_paths(self.rule)
        for slot in self.slots:
            slot.compile(paths[slot.name], relevant[slot.name], used.get(slot.name, ()))
        return Structure(len(self.slots), tuple(sorted(set(equal))))

    def start(self) -> None:
        """A rule of nothing but `missing` has one match from the first moment on."""
        if not self.slots:
            self._come(())

    def retire(self) -> None:
        """The rule is no longer in force."""
        self.retired = True
        if self._joiner is not None:
            self.core.joiners.give_back(self._joiner)
            self._joiner = None

    # -- combinations -------------------------------------------------------------------------------------------------

    def item_came(self, slot: Slot, item: Item) -> None:
        """Make the matches that an item completes."""
        for items in self._combinations(slot, item):
            self._come(items)

    def item_went(self, slot: Slot, item: Item) -> None:
        """Drop the matches that an item was part of."""
        if self._joiner is not None:
            self._joiner.remove(slot.number, item.seq)
        for match in tuple(slot.matches.get(item.identity, ())):
            self._go(match)

    def item_changed(self, slot: Slot, item: Item) -> None:
        """Fields changed that decide which combinations there are: those that are still there go on, others come and go."""
        before = dict(slot.matches.get(item.identity, {}))
        if self._joiner is not None:
            self._joiner.remove(slot.number, item.seq)
        for items in self._combinations(slot, item):
            match = self.matches.get(tuple(part.identity for part in items))
            if match is None:
                self._come(items)
                continue
            before.pop(match, None)
            for gate in self.gates:
                gate.detach(match)
                gate.attach(match)
            self.consider(match)
        for match in before:
            self._go(match)

    def _combinations(self, slot: Slot, item: Item) -> list[tuple[Item, ...]]:
        keys = slot.join_keys(item)
        if keys is None:
            return []
        if self._joiner is None:
            return [(item,)]
        found: list[tuple[Item, ...]] = []
        for numbers in self._joiner.insert(slot.number, item.seq, keys):
            items = tuple(other.items[seq] for other, seq in zip(self.slots, numbers, strict=True))
            # Two patterns never bind the same fact; and comparisons with other patterns are made here, by one set of operators.
            if len({part.seq for part in items}) == len(items) and self._refs_hold(items):
                found.append(items)
        found.sort(key=lambda items: [part.seq for part in items])
        return found

    def _refs_hold(self, items: tuple[Item, ...]) -> bool:
        return all(
            self.test_holds(test, slot.kind, item.values, items)
            for slot, item in zip(self.slots, items, strict=True)
            for test in slot.ref_tests
        )

    def test_holds(self, test: Test, kind: str, values: Mapping[str, Any], items: tuple[Item, ...]) -> bool:
        """A test with references, against what other patterns bound."""
        value = getter(kind, test.path)(values)
        others = tuple(self._value(items, other) if isinstance(other, Ref) else other for other in test.values)
        if value is None and test.op in ("eq", "ne"):
            return test.op == "ne"  # nothing is equal to nothing, and `ne` is the opposite of `eq`
        return holds(test.op, value, others)

    def value_of(self, match: Match, ref: Ref) -> Any:
        """What a reference refers to in a match."""
        return self._value(match.items, ref)

    def _value(self, items: tuple[Item, ...], ref: Ref) -> Any:
        slot = self._by_name.get(ref.binding)
        if slot is None:
            return None
        return getter(slot.kind, ref.path)(items[slot.number].values)

    # -- a match's life -----------------------------------------------------------------------------------------------

    def _come(self, items: tuple[Item, ...]) -> None:
        match = Match(self, items)
        self.matches[match.key] = match
        for slot, item in zip(self.slots, items, strict=True):
            slot.matches.setdefault(item.identity, {})[match] = None
        for gate in self.gates:
            gate.attach(match)
        if not self.core.restoring:
            self.consider(match)

    def _go(self, match: Match) -> None:
        del self.matches[match.key]
        for slot, item in zip(self.slots, match.items, strict=True):
            matches = slot.matches[item.identity]
            del matches[match]
            if not matches:
                del slot.matches[item.identity]
        for gate in self.gates:
            gate.detach(match)
        self.blocked.pop(match, None)
        self.core.support_lost(match)
        self.core.ledger.delete("match", match.id)

    def alive(self, match: Match) -> bool:
        """Whether the match is still there."""
        return self.matches.get(match.key) is match and not self.retired

    def consider(self, match: Match) -> None:
        """Something of the match changed: does everything hold, for long enough, and has it not fired on this before?"""
        if not self.alive(match):
            return
        now = self.core.moment.now
        for gate in self.gates:
            last = gate.missing_since(match)
            if last is None or last + gate.duration > now:
                if match.since is not None:
                    self._suspend(match)
                if last is not None:
                    self.core.moment.call_at(last + gate.duration, self.consider, match)
                return
        if match.since is None:
            match.since = now
            self.save(match)
        due = match.since + self.rule.hold
        if due > now:
            self.core.moment.call_at(due, self.consider, match)
        elif match.fired != self.version(match):
            self.core.agenda.push(match)

    def ready(self, match: Match) -> bool:
        """Its turn has come: does it still hold, unfired, and does no `unless` hold it back?"""
        if not self.alive(match) or match.since is None or match.since + self.rule.hold > self.core.moment.now:
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
        self.core.support_lost(match)
        self.save(match)

    def version(self, match: Match) -> str:
        """Names the values on which the rule would fire: what it tests and uses. What is missing has none while it is missing."""
        content = [slot.version(item) for slot, item in zip(self.slots, match.items, strict=True)]
        if not any(content):
            return "-"
        return sha256(repr(content).encode("utf-8", "surrogatepass")).hexdigest()[:16]

    def save(self, match: Match) -> None:
        """Have the journal keep the match as it is now."""
        if self.core.ledger.kept:
            self.core.ledger.put("match", match.id, match.saved)

    def activation_id(self, match: Match, version: str) -> str:
        """The same rule, version and supporting facts give the same id."""
        content = (self.rule.id, self.rule.version, match.key, version, match.since)
        return sha256(repr(content).encode("utf-8", "surrogatepass")).hexdigest()[:20]


class UnlessSlot:
    """A pattern of `unless`: while one of its items matches, the rule waits."""

    keeps = True

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
        self._node.core.agenda.unblock(self._node)

    def remove(self, item: Item) -> None:
        """No longer."""
        del self._items[item.seq]
        self._node.core.agenda.unblock(self._node)

    def holds_back(self, match: Match) -> bool:
        """Whether an item matches, given what the rule's patterns bound."""
        if not self._ref_tests:
            return bool(self._items)
        return any(
            all(self._node.test_holds(test, self._kind, item.values, match.items) for test in self._ref_tests)
            for item in self._items.values()
        )
