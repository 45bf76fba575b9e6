"""The journal: one SQLite file that survives the process. It keeps what it is given and understands none of it."""

from engine.journal.audit import AuditQuery
from engine.journal.reader import JournalReader
from engine.journal.records import AuditRow, Batch, Bounds, Committed, JournalState
from engine.journal.store import Journal

__all__ = ["AuditQuery", "AuditRow", "Batch", "Bounds", "Committed", "Journal", "JournalReader", "JournalState"]
