"""How the core's state becomes entries for the journal, and comes back from them, perhaps under other rules."""

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from engine.errors import BadFactError
from engine.facts import Retraction
from engine.facts.timestamps import Micros
from engine.inference.decision import Decision
from engine.inference.items import FactItem
from engine.inference.ledger import encode
from engine.inference.matches import Match
from engine.inference.memory import expiry
from engine.inference.windows import Entry, Watcher

if TYPE_CHECKING:
    from engine.inference.core import Core

Entries = Mapping[tuple[str, str], str]


def saved_fact(item: FactItem) -> list[Any]:
    """A fact as the journal keeps it."""
    supporters = None if item.supporters is None else sorted(item.supporters)
    return [item.seq, supporters, item.fact.to_json_dict()]


def withdrawn(item: FactItem, now: Micros) -> Decision:
    """A fact goes because nothing supports it any more."""
    fact = item.fact
    activation = fact.fact_id.rpartition("-")[0]
    return Decision(
        at=now, rule=fact.source.removeprefix("rule:"), key="", does="retract", facts=(), activation=activation, fact=fact
    )


def snapshot(core: "Core") -> dict[tuple[str, str], str]:
    """Everything that the journal would hold now."""
    return {address: encode(content) for address, content in _contents(core)}


def _contents(core: "Core") -> Iterator[tuple[tuple[str, str], Any]]:
    yield ("clock", "clock"), [core.moment.now, core.moment.started, core.moment.seq]
    yield from ((("fact", encode(item.identity)), saved_fact(item)) for item in core.memory)
    groups = [group for window in core.windows.values() for group in window.groups.values()]
    yield from ((("window", row), content) for group in groups for row, content in group.saved_entries())
    yield from ((("count", row), content) for group in groups for row, content in group.saved_holding())
    gates = [gate for node in core.nodes for gate in node.gates]
    yield from ((("seen", row), content) for gate in gates for row, content in gate.saved())
    yield from ((("match", match.id), match.saved()) for node in core.nodes for match in node.matches.values())
    yield from ((("alert", f"{state.rule}\x1f{state.key}"), state.saved()) for state in core.alerts.states.values())


class Restoration:
    """Takes entries back into a core that has seen nothing yet. Entries that mean nothing under its rules are forgotten."""

    def __init__(self, core: "Core", entries: Entries) -> None:
        self._core = core
        self._sections: dict[str, dict[str, Any]] = {}
        for (section, key), text in entries.items():
            self._sections.setdefault(section, {})[key] = json.loads(text)

    def run(self) -> None:
        """Take everything back, then look at every match once."""
        core = self._core
        clock = self._sections.get("clock", {}).get("clock")
        if clock is None:
            return
        core.moment.now, core.moment.started, core.moment.seq = clock
        core.restoring = True
        self._seen()
        self._windows()
        self._counts()
        self._facts()
        for node in core.nodes:
            node.start()
        known = self._matches()
        core.restoring = False
        for window in core.windows.values():
            for group in tuple(window.groups.values()):
                group.after_restore()
        self._alerts(known)
        self._supporters({match.id for match in known})
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
                self._core.ledger.delete("seen", row)
            else:
                gate.restore(key, at)

    def _windows(self) -> None:
        entries = sorted(self._rows("window"), key=lambda entry: entry[1][3])
        for row, (window_key, key, name, at, sample, fact_id) in entries:
            window = self._core.windows.get(window_key)
            if window is None or at <= self._core.now - window.retention:
                self._core.ledger.delete("window", row)
            else:
                window.restore_entry(key, name, Entry(at, sample, fact_id))

    def _counts(self) -> None:
        watchers: dict[tuple[str, str], Watcher] = {
            (window.key, watcher.name): watcher for window in self._core.windows.values() for watcher in window.watchers
        }
        for row, (window_key, key, name, seq) in sorted(self._rows("count"), key=lambda entry: entry[1][3]):
            watcher = watchers.get((window_key, name))
            group = self._core.windows[window_key].groups.get(tuple(key)) if watcher is not None else None
            if watcher is None or group is None:
                self._core.ledger.delete("count", row)
            else:
                group.restore_holding(watcher, seq)

    def _facts(self) -> None:
        for row, (seq, supporters, data) in sorted(self._rows("fact"), key=lambda entry: entry[1][0]):
            try:
                fact = self._core.kinds.read(data)
            except BadFactError:
                fact = None  # its kind is no longer declared, or has other fields in this version
            if fact is None or isinstance(fact, Retraction):
                self._core.ledger.delete("fact", row)
                continue
            item = FactItem(fact, fact.identity, seq, expiry(fact))
            item.supporters = None if supporters is None else set(supporters)
            self._core.take_back(item)

    def _matches(self) -> list[Match]:
        matches = {match.id: match for node in self._core.nodes for match in node.matches.values()}
        known: list[Match] = []
        for row, (match_id, since, fired, activation, raised, asserted) in self._rows("match"):
            match = matches.get(match_id)
            if match is None:
                self._core.ledger.delete("match", row)
                continue
            match.since, match.fired, match.activation, match.raised = since, fired, activation, raised
            match.asserted = {tuple(identity) for identity in asserted}
            if match.fired is not None:
                self._core.active[match.activation] = match
            known.append(match)
        return known

    def _alerts(self, known: list[Match]) -> None:
        supporters: dict[tuple[str, str], list[Match]] = {}
        for match in known:
            if match.raised is not None:
                supporters.setdefault((match.node.rule.id, match.raised), []).append(match)
        for _, saved in self._rows("alert"):
            self._core.alerts.restore(saved, supporters.get((saved["rule"], saved["key"]), []))

    def _supporters(self, known: set[str]) -> None:
        for item in self._core.memory:
            if item.supporters is not None:
                item.supporters &= known
                if not item.supporters:
                    self._core.pending_support(item.identity)
