"""How the core's state becomes entries for the journal, and comes back from them, perhaps under other rules.

Stands above `Core`; knows nothing of journals.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from engine.errors import BadFactError
from engine.facts import Fact, Retraction
from engine.inference.alerts import NO_RULE
from engine.inference.change_log import text_of
from engine.inference.core import Core
from engine.inference.items import expiry, item_of
from engine.inference.joins import Kind
from engine.inference.match import Match
from engine.inference.memory import Bounds
from engine.inference.windows import Entry, Threshold
from engine.rules.model import RuleSet

Entries = Mapping[tuple[str, str], str]


def restore(
    ruleset: RuleSet,
    entries: Entries,
    *,
    keep_changes: bool = True,
    combination: Kind | None = None,
    bounds: Bounds | None = None,
) -> Core:
    """A core that goes on from what the journal held, perhaps with other rules.

    The state of rules that are unchanged comes back whole. What follows from changed ones comes with the next call. An entry that
    cannot be read is left out, forgotten and named in `core.faults`; if the rest does not fit together, the core begins empty.
    """
    core = Core(ruleset, keep_changes=keep_changes, combination=combination, bounds=bounds)
    try:
        _Restoration(core, entries).run()
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        core = Core(ruleset, keep_changes=keep_changes, combination=combination, bounds=bounds)
        for section, key in entries:
            core.changes.delete(section, key)
        core.faults.append(f"what was known before the restart cannot be read, and is left out: {error!r}")
    return core


def snapshot(core: Core) -> dict[tuple[str, str], str]:
    """Everything that the journal would hold now."""
    return {address: text_of(content) for address, content in _contents(core)}


def _contents(core: Core) -> Iterator[tuple[tuple[str, str], Any]]:
    yield ("clock", "clock"), [core.clock.now, core.clock.started, core.clock.seq]
    yield from ((("fact", item.row), item.to_json()) for item in core.memory)
    groups = [group for window in core.windows.values() for group in window.groups.values()]
    yield from ((("window", row), content) for group in groups for row, content in group.to_json_entries())
    yield from ((("count", row), content) for group in groups for row, content in group.to_json_reached())
    gates = [gate for node in core.nodes for gate in node.gates]
    yield from ((("seen", row), content) for gate in gates for row, content in gate.to_json())
    yield from ((("match", match.id), match.to_json()) for node in core.nodes for match in node.matches.values())
    yield from ((("alert", f"{state.rule}\x1f{state.key}"), state.to_json()) for state in core.alerts.states.values())


_SHAPES: dict[str, tuple[int, tuple[int, ...]]] = {
    "clock": (3, (0, 2)),
    "seen": (3, (2,)),
    "window": (6, (3,)),
    "count": (4, (3,)),
    "fact": (3, (0,)),
    "match": (6, ()),
}
"""Lists by section: how long they are, and which of their elements are whole numbers."""


def _readable(section: str, text: str) -> Any:
    """An entry's content; None when it is none that any version writes."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if section == "alert":
        return content if isinstance(content, dict) and "rule" in content and "key" in content else None
    length, numbers = _SHAPES.get(section, (0, ()))
    fits = isinstance(content, list) and len(content) == length and all(type(content[place]) is int for place in numbers)
    return content if fits or section not in _SHAPES else None


class _Restoration:
    """Restores entries into a core that has seen nothing yet. Entries that mean nothing under its rules are forgotten."""

    def __init__(self, core: Core, entries: Entries) -> None:
        self._core = core
        self._sections: dict[str, dict[str, Any]] = {}
        for (section, key), text in entries.items():
            content = _readable(section, text)
            if content is None:
                core.changes.delete(section, key)
                core.faults.append(f"an entry of the journal cannot be read, and is left out: {section} {key[:100]}")
            else:
                self._sections.setdefault(section, {})[key] = content

    def run(self) -> None:
        """Restore everything, then look at every match once."""
        core = self._core
        clock = self._sections.get("clock", {}).get("clock")
        if clock is None:
            return
        core.clock.now, core.clock.started, core.clock.seq = clock
        for node in core.nodes:
            node.restoring = True
        self._seen()
        self._windows()
        self._counts()
        self._facts()
        for node in core.nodes:
            node.start()
        known = self._matches()
        for node in core.nodes:
            node.restoring = False
        for window in core.windows.values():
            for group in tuple(window.groups.values()):
                group.after_restore()
        self._alerts(known)
        core.support.restore(known)
        for node in core.nodes:
            for match in tuple(node.matches.values()):
                node.consider(match)

    def _rows(self, section: str) -> Iterator[tuple[str, Any]]:
        yield from self._sections.get(section, {}).items()

    def _seen(self) -> None:
        gates = {gate.address: gate for node in self._core.nodes for gate in node.gates}
        for row, (address, key, at) in self._rows("seen"):
            gate = gates.get(address)
            if gate is None:
                self._core.changes.delete("seen", row)
            else:
                gate.restore(key, at)

    def _windows(self) -> None:
        entries = sorted(self._rows("window"), key=lambda entry: entry[1][3])
        for row, (window_key, key, name, at, sample, fact_id) in entries:
            window = self._core.windows.get(window_key)
            if window is None or at <= self._core.now - window.retention:
                self._core.changes.delete("window", row)
            else:
                window.restore_entry(key, name, Entry(at, sample, fact_id))

    def _counts(self) -> None:
        thresholds: dict[tuple[str, str], Threshold] = {
            (window.key, threshold.name): threshold for window in self._core.windows.values() for threshold in window.thresholds
        }
        for row, (window_key, key, name, seq) in sorted(self._rows("count"), key=lambda entry: entry[1][3]):
            threshold = thresholds.get((window_key, name))
            group = self._core.windows[window_key].groups.get(tuple(key)) if threshold is not None else None
            if threshold is None or group is None:
                self._core.changes.delete("count", row)
            else:
                group.restore_reached(threshold, seq)

    def _facts(self) -> None:
        for row, (seq, supporters, data) in sorted(self._rows("fact"), key=lambda entry: entry[1][0]):
            try:
                fact = self._core.kinds.read(data)
            except BadFactError:
                fact = None  # its kind is no longer declared, or has other fields in this version
            if fact is None or isinstance(fact, Retraction) or self._is_over(fact):
                self._core.changes.delete("fact", row)
                continue
            item = item_of(fact, seq)
            item.supporters = None if supporters is None else dict.fromkeys(supporters)
            self._core.restore_item(item)

    def _matches(self) -> list[Match]:
        matches = {match.id: match for node in self._core.nodes for match in node.matches.values()}
        known: list[Match] = []
        for row, (match_id, since, fired, activation, raised, asserted) in self._rows("match"):
            match = matches.get(match_id)
            if match is None:
                self._core.changes.delete("match", row)
                continue
            match.since, match.fired, match.activation, match.raised = since, fired, activation, raised
            match.asserted = {tuple(identity): None for identity in asserted}
            known.append(match)
        return known

    def _alerts(self, known: list[Match]) -> None:
        supporters: dict[tuple[str, str], list[Match]] = {}
        for match in known:
            if match.raised is not None:
                supporters.setdefault((match.rule.id, match.raised), []).append(match)
        orders = {rule.id: (-rule.priority, rule.order) for rule in self._core.ruleset.rules}
        for _, saved in self._rows("alert"):
            address = (saved["rule"], saved["key"])
            self._core.alerts.restore(saved, supporters.get(address, []), orders.get(saved["rule"], NO_RULE))

    def _is_over(self, fact: Fact) -> bool:
        over = expiry(fact)
        return over is not None and over <= self._core.now
