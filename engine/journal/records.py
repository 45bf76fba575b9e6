"""What goes into the journal and comes out of it: plain records. Knows no SQL."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from engine.facts.timestamps import Micros
from engine.ports.broker import OutboxRow

CoreKey = tuple[str, str]
"""Section and key of a piece of the inference core's state."""


@dataclass(frozen=True, slots=True)
class AuditRow:
    """One decision or outcome. `verdict` is one word: done, failed, refused, observed, scheduled, cancelled and the like."""

    at: Micros
    kind: str
    verdict: str
    rule: str = ""
    key: str = ""
    activation: str = ""
    action: str = ""
    target: str = ""
    reason: str = ""
    detail: Mapping[str, Any] = field(default_factory=dict)
    """Whatever else belongs to it; kept as JSON, what JSON has no form for as its text."""


@dataclass(slots=True)
class Batch:
    """Everything that one batch of facts leads to; committed as a whole or not at all.

    Of a key that is both put and deleted, the put counts; the methods keep the two apart in the order of the calls.
    """

    cursors: dict[str, str] = field(default_factory=dict)
    """Where each source goes on after a restart."""
    core_puts: dict[CoreKey, str] = field(default_factory=dict)
    core_deletes: set[CoreKey] = field(default_factory=set)
    """State of the inference core, as text that only the core reads."""
    retries_puts: dict[str, str] = field(default_factory=dict)
    retries_deletes: set[str] = field(default_factory=set)
    """Scheduled retries."""
    outbox: list[OutboxRow] = field(default_factory=list)
    outbox_done: list[int] = field(default_factory=list)
    """Numbers of rows that the broker took, and of those given up."""
    audit: list[AuditRow] = field(default_factory=list)
    memory: dict[str, str] = field(default_factory=dict)
    """Small things remembered: the host's identity when last seen, the last good rules."""
    replaces: bool = False
    """The batch is all there is to know: what the journal has of an earlier process goes with it."""
    durable: bool = True
    """True: survives a power failure once committed. Needed before anything is acted on or leaves the process.
    False will do for what is merely repeated when it is lost: cursors, acknowledgements. Survives kill -9 either way."""

    def __bool__(self) -> bool:
        return any(
            (
                self.cursors,
                self.core_puts,
                self.core_deletes,
                self.retries_puts,
                self.retries_deletes,
                self.outbox,
                self.outbox_done,
                self.audit,
                self.memory,
                self.replaces,
            )
        )

    def put_core(self, key: CoreKey, text: str) -> None:
        """Keep a piece of the core's state."""
        self.core_deletes.discard(key)
        self.core_puts[key] = text

    def delete_core(self, key: CoreKey) -> None:
        """Forget a piece of the core's state."""
        self.core_puts.pop(key, None)
        self.core_deletes.add(key)

    def put_retry(self, key: str, text: str) -> None:
        """Keep a scheduled retry."""
        self.retries_deletes.discard(key)
        self.retries_puts[key] = text

    def delete_retry(self, key: str) -> None:
        """Forget a scheduled retry."""
        self.retries_puts.pop(key, None)
        self.retries_deletes.add(key)

    def extend(self, later: "Batch") -> None:
        """Add what came after this batch: one commit of both is the same as two in a row.

        For a commit that failed (a full disk, say): the batch is kept in memory, later ones are added, and it is tried again.
        """
        if later.replaces:
            self.replaces = True
            for before in (self.core_puts, self.core_deletes, self.retries_puts, self.retries_deletes):
                before.clear()
        self.cursors |= later.cursors
        for core_key in later.core_deletes:
            self.delete_core(core_key)
        for core_key, text in later.core_puts.items():
            self.put_core(core_key, text)
        for key in later.retries_deletes:
            self.delete_retry(key)
        for key, text in later.retries_puts.items():
            self.put_retry(key, text)
        self.outbox += later.outbox
        self.outbox_done += later.outbox_done
        self.audit += later.audit
        self.memory |= later.memory
        self.durable = self.durable or later.durable


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much the journal keeps. The defaults: weeks of an ordinary host, days of a bad one, in well under 200 MiB."""

    outbox_rows: int = 10_000
    outbox_bytes: int = 64 * 1024 * 1024
    """Payloads and topics of all waiting rows together."""
    audit_rows: int = 100_000
    file_bytes: int = 256 * 1024 * 1024
    """Of the whole file, what is free in it left out: beyond that the oldest audit entries go, whatever their clocks said."""


@dataclass(frozen=True, slots=True)
class Committed:
    """What a commit did beyond what it was asked for."""

    seqs: tuple[int, ...] = ()
    """Numbers of the batch's outbox rows, in their order."""
    lost: Counter[str] = field(default_factory=Counter)
    """Outbox rows that had to go to keep within the bounds, by kind."""


@dataclass(frozen=True, slots=True)
class JournalState:
    """Everything that a restart starts from."""

    cursors: dict[str, str]
    core: dict[CoreKey, str]
    retries: dict[str, str]
    memory: dict[str, str]
    last_seq: int
    """Highest outbox number ever used."""
    outbox_rows: int
    outbox_bytes: int
    lost: Counter[str]
    """Outbox rows lost since the journal began, by kind."""
    recovered: str | None
    """A sentence, if the file found was unusable, was moved aside, and a fresh one begun; else None."""
    unreadable: Counter[str] = field(default_factory=Counter)
    """Rows that cannot be read and are left out, by table."""
