"""The chain that led to an alert or an action, from the audit: facts, rules, decisions, outcomes, each with its time."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from engine.errors import DockwardenError
from engine.facts.timestamps import Micros, rfc3339, to_micros
from engine.journal.audit import AuditQuery
from engine.journal.reader import JournalReader
from engine.journal.records import AuditRow
from engine.messages.timeline import Entry, Lane, action_entry, in_order
from engine.messages.topics import one_line

LOOKED_THROUGH = 20_000
"""Newest audit entries that are looked through for what led to something."""

DEPTH = 12
"""Longest chain that is followed: rules that chain longer are refused by the check."""


@dataclass(slots=True)
class Link:
    """One thing in the tree, with what led to it below it."""

    at: Micros
    what: str
    kind: str
    because: list["Link"] = field(default_factory=list)

    def to_json_dict(self) -> dict[str, Any]:
        """As JSON."""
        found: dict[str, Any] = {"at": rfc3339(self.at) if self.at else None, "kind": self.kind, "what": self.what}
        if self.because:
            found["because"] = [link.to_json_dict() for link in self.because]
        return found


class Chain:
    """The audit, indexed for questions of cause."""

    def __init__(self, rows: list[AuditRow]) -> None:
        self.rows = rows
        self._by_activation: dict[str, list[AuditRow]] = {}
        self._by_job: dict[str, list[AuditRow]] = {}
        for row in rows:
            self._by_activation.setdefault(row.activation, []).append(row)
            if job := row.detail.get("job"):
                self._by_job.setdefault(str(job), []).append(row)
        # A row that lacks the evidence may name a fact that another one has: the outcome of an attempt, what a rule asserted.
        self._facts = {
            str(fact.get("fact_id", "")): fact
            for row in rows
            for fact in (*row.detail.get("evidence", ()), row.detail.get("outcome"), row.detail.get("fact"))
            if isinstance(fact, dict)
        }

    def explain(self, row: AuditRow) -> Link:
        """What led to an entry, and what came of it."""
        return self._firing(row, frozenset(), 0)

    def _firing(self, row: AuditRow, seen: frozenset[str], depth: int) -> Link:
        link = Link(row.at, describe(row), row.kind)
        if depth >= DEPTH or row.activation in seen:
            return link
        seen |= {row.activation}
        known = self._evidence(row)
        for fact_id in row.detail.get("facts", ()):
            link.because.append(
                self._fact(str(fact_id), known.get(str(fact_id)) or self._facts.get(str(fact_id)), row.at, seen, depth + 1)
            )
        return link

    def _evidence(self, row: AuditRow) -> dict[str, dict[str, Any]]:
        """Facts by id, from every entry of the firing."""
        facts: dict[str, dict[str, Any]] = {}
        for entry in self._by_activation.get(row.activation, [row]):
            for fact in entry.detail.get("evidence", ()):
                if isinstance(fact, dict):
                    facts.setdefault(str(fact.get("fact_id", "")), fact)
        return facts

    def _fact(self, fact_id: str, fact: dict[str, Any] | None, at: Micros, seen: frozenset[str], depth: int) -> Link:
        link = Link(_time_of(fact) or at, _fact_text(fact_id, fact), "fact")
        if depth >= DEPTH:
            return link
        job, mark, _ = fact_id.rpartition("#")
        if mark:  # the outcome of an attempt: because of the decision to try
            attempts = self._by_job.get(job, ())
            for row in attempts:
                if row.verdict == "scheduled":
                    link.because.append(self._firing(row, seen, depth + 1))
            return link
        activation, mark, _ = fact_id.rpartition("-")
        if mark and activation in self._by_activation and activation not in seen:  # concluded by a rule
            link.because.append(self._firing(self._by_activation[activation][0], seen, depth + 1))
        return link

    def outcomes(self, row: AuditRow) -> list[AuditRow]:
        """What was done in consequence of the same firing, and about the same containers."""
        subjects = {str(fact.get(name)) for fact in self._evidence(row).values() for name in ("id", "owner_id", "container_id")}
        subjects -= {"None", ""}
        return [
            entry
            for entry in self.rows
            if entry.kind == "action"
            and (entry.activation == row.activation or any(subject in entry.target for subject in subjects))
        ]

    def evidence(self, row: AuditRow) -> list[Mapping[str, Any]]:
        """The facts that an entry stands on, as far as the audit has them."""
        return list(self._evidence(row).values())

    def entries(self, row: AuditRow) -> list[Entry]:
        """Everything that led to an entry and came of it, for a picture on a time axis."""
        entries: list[Entry] = []
        waiting = [self.explain(row)]
        while waiting:
            link = waiting.pop()
            waiting += link.because
            if link.at:
                lane: Lane = "fact" if link.kind == "fact" else "action" if link.kind == "action" else "rule"
                entries.append(Entry(link.at, lane, one_line(link.what, 200), "bad" if link.kind == "alert" else "plain"))
        entries += [
            action_entry(entry.at, entry.action, entry.target, entry.verdict, entry.reason) for entry in self.outcomes(row)
        ]
        entries += [
            Entry(entry.at, "rule", one_line(describe(entry), 200), "good" if entry.verdict == "resolved" else "bad")
            for entry in self.rows
            if entry.kind == row.kind == "alert" and (entry.rule, entry.key) == (row.rule, row.key)
        ]
        return in_order(entries)


def _time_of(fact: dict[str, Any] | None) -> Micros | None:
    try:
        return to_micros(datetime.fromisoformat(str((fact or {}).get("at"))))
    except (ValueError, TypeError):
        return None


def describe(row: AuditRow) -> str:
    """An entry in one line."""
    if row.kind == "alert":
        return f"alert {row.rule}{'/' + row.key if row.key else ''} {row.verdict}: {row.detail.get('text', '')}"
    if row.kind == "action":
        reason = f": {row.reason}" if row.reason else ""
        return f"rule {row.rule}: {row.action} {_short(row.target)} {row.verdict}{reason}"
    return f"rule {row.rule}: {row.kind} {_fact_text('', row.detail.get('fact'))}"


def _short(target: str) -> str:
    return ":".join(part[:12] if len(part) == 64 else part for part in target.split(":"))  # noqa: PLR2004  a full id


_ENVELOPE = frozenset({"fact", "fact_id", "at", "host", "source", "ttl", "labels", "text"})
_SHOWN = 7
"""Fields of a fact that are shown: enough to know it again."""


def _fact_text(fact_id: str, fact: Any) -> str:
    if not isinstance(fact, dict):
        return f"fact {fact_id}"
    fields = [(name, value) for name, value in fact.items() if name not in _ENVELOPE and value not in (None, "", [], {}, False)]
    shown = ", ".join(f"{name} {_short(str(value))[:80]}" for name, value in fields[:_SHOWN])
    return f"{fact.get('fact')}: {shown}" + (f" ({fact['source']})" if fact.get("source") else "")


def find(rows: list[AuditRow], what: str | None) -> AuditRow:
    """The newest entry that is meant.

    An alert by `rule` or `rule/key`, an action by its name, its target, or `name/target`; else what has every word of the text
    in its names, else anywhere: in a container's name, an error, a reason.

    Raises:
        DockwardenError: there is none such.
    """
    if what is None:
        alerts = [row for row in rows if row.kind == "alert"]
        if not alerts:
            raise DockwardenError("no alert was raised yet, as far back as the audit reaches")
        return alerts[-1]
    rule, _, key = what.partition("/")
    tests: tuple[Callable[[AuditRow], bool], ...] = (
        lambda row: row.kind == "alert" and row.rule == what,
        lambda row: row.kind == "alert" and row.rule == rule and row.key == key,
        lambda row: row.kind == "action" and what in (row.action, row.target, row.activation),
        lambda row: row.kind == "action" and row.action == rule and row.target.startswith(key),
        lambda row: row.kind == "action" and len(what) >= 6 and row.target.startswith(what),  # noqa: PLR2004  a short id
    )
    for test in tests:
        found = [row for row in rows if test(row)]
        if found:
            return next((row for row in reversed(found) if row.verdict in ("firing", "scheduled")), found[-1])
    parts = what.casefold().split()
    for haystack in (_names, _everything):
        found = [row for row in rows if parts and all(part in haystack(row) for part in parts)]
        if found:
            return next((row for row in reversed(found) if row.verdict in ("firing", "scheduled")), found[-1])
    known = sorted({f"{row.rule}/{row.key}" if row.key else row.rule for row in rows if row.kind == "alert"})
    raise DockwardenError(f"nothing in the audit is called {what!r}. Alerts that are there: {', '.join(known[-20:]) or 'none'}")


def _names(row: AuditRow) -> str:
    return f"{row.rule}\n{row.key}\n{row.action}\n{row.target}\n{row.activation}".casefold()


def _everything(row: AuditRow) -> str:
    """All that the audit has of an entry, as one text."""
    return f"{_names(row)}\n{row.kind} {row.verdict} {row.reason}\n{json.dumps(row.detail, ensure_ascii=False)}".casefold()


def read_audit(journal: Path) -> list[AuditRow]:
    """The newest entries, oldest first.

    Raises:
        JournalError: it cannot be read.
    """
    with JournalReader(journal) as reader:
        return reader.audit(AuditQuery(), limit=LOOKED_THROUGH)


WITHHELD = ("refused", "observed", "silenced", "cancelled")
"""Verdicts on what a rule decided and nobody saw."""


def withheld(journal: Path, rule: str, at_most: int = 10) -> list[str]:
    """What a rule decided of late that a guard refused or that was only observed, newest last, each with its time and reason.

    Raises:
        JournalError: the journal cannot be read.
    """
    with JournalReader(journal) as reader:
        rows = reader.audit(AuditQuery(rule=rule), limit=LOOKED_THROUGH)
    return [f"{rfc3339(row.at)}  {describe(row)}" for row in rows if row.verdict in WITHHELD][-at_most:]


def explain_alert(journal: Path, rule: str, key: str | None) -> dict[str, Any]:
    """The tree as JSON, for a command.

    Raises:
        DockwardenError: there is no such alert.
    """
    rows = read_audit(journal)
    row = find(rows, (f"{rule}/{key}" if key else rule) or None)
    chain = Chain(rows)
    return {"because": chain.explain(row).to_json_dict(), "outcomes": [describe(entry) for entry in chain.outcomes(row)[-20:]]}
