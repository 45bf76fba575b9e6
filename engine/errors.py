"""Everything that dockwarden raises on purpose, under one root. Imports nothing."""


class DockwardenError(Exception):
    """Root of all: catch this to catch what is foreseen."""


class BadFactError(DockwardenError):
    """Something that was handed in as a fact is none."""


class SettingsError(DockwardenError):
    """The settings cannot be used; the message names every fault."""


class RulesError(DockwardenError):
    """A rules folder cannot be used; the message names every fault."""


class JournalError(DockwardenError):
    """The journal cannot be written or read."""


class JournalUnavailableError(JournalError):
    """The disk does not take it at present: it is full, read-only or failing. That may pass."""


class JournalDamagedError(JournalError):
    """The file itself is broken."""


class SourceError(DockwardenError):
    """A source of facts cannot be read for now; it is tried again."""


class DockerError(DockwardenError):
    """Docker refused, failed or did not answer.

    `kind` is one of `engine.facts.outcomes.ErrorKind`; `status` the HTTP status where there was one; `begun` is true where the
    call was sent and its end is not known: Docker may have done what it says, or may still do it.
    """

    def __init__(self, message: str, *, kind: str, status: int | None = None, begun: bool = False) -> None:
        super().__init__(message)
        self.kind = kind
        self.status = status
        self.begun = begun


class BrokerError(DockwardenError):
    """The broker refused or went away; what was to be sent stays in the outbox."""


class CommandKeyError(DockwardenError):
    """A key file of an operator, or their folder, cannot be used; the message says which and what to do."""
