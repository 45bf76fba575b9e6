"""Facts that dockwarden itself brings about: outcomes of actions, and alerts."""

from typing import ClassVar, Literal

from pydantic import Field

from engine.facts.base import EventFact, StateFact

ErrorKind = Literal[
    "busy",  # a mount or device of it is in use
    "not_found",
    "in_progress",  # Docker is at it already
    "running",  # the container runs, and nobody said that it may be touched
    "timeout",
    "unreachable",
    "denied",  # permission
    "refused",  # a guardrail
    "conflict",
    "failed",  # anything else
]

Severity = Literal["info", "warning", "error", "critical"]


class ActionResult(EventFact):
    """The outcome of one attempt of an action."""

    KIND: ClassVar[str] = "action_result"

    action: str = Field(description="remove_container, inspect_mounts, unmount, …")
    target: str = Field(default="", description="What it was done to: a container id, holder and path, a process id.")
    container_id: str | None = Field(default=None, description="Container that it was done for.")
    ok: bool
    error: str | None = Field(default=None, description="In the words of who refused.")
    error_kind: ErrorKind | None = None
    attempt: int = Field(default=1, ge=1)
    exhausted: bool = Field(default=False, description="It failed and will not be tried again.")
    duration_ms: float = Field(default=0.0, description="Milliseconds the attempt took.")
    detail: str | None = Field(default=None, description="What came of it: a file written, a number of things removed.")
    rule: str | None = Field(default=None, description="Rule that asked for it.")


class Alert(StateFact):
    """What is already known: rules may depend on it."""

    KIND: ClassVar[str] = "alert"
    KEY: ClassVar[tuple[str, ...] | None] = ("rule", "key")

    rule: str
    key: str = ""
    severity: Severity = "warning"
    status: Literal["firing", "resolved"] = "firing"
