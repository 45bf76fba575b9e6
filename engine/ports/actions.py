"""How things are done."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from engine.facts import Fact, Retraction
from engine.facts.outcomes import ErrorKind


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one attempt. `facts` are what it learned or changed: mounts found, a container that is gone."""

    ok: bool
    error: str | None = None
    error_kind: ErrorKind | None = None
    detail: str | None = None
    permanent: bool = False
    """True: trying again would be in vain."""
    facts: tuple[Fact | Retraction, ...] = field(default=())


def failed(kind: ErrorKind, error: str, *, permanent: bool = False, facts: Iterable[Fact | Retraction] = ()) -> Outcome:
    """An attempt that did not do it. `permanent`: trying again would be in vain."""
    return Outcome(ok=False, error=error, error_kind=kind, permanent=permanent, facts=tuple(facts))


ContainerGuard = Callable[[str], Awaitable[Outcome | None]]
"""Looks at a container, by its full id, at this moment: the refusal when no action may touch it, None when it may (or is gone).
Asked right before acting."""


class Action(Protocol):
    """Does one thing of `engine.action_catalog`. Never raises for what the world may do to it: that is an outcome."""

    @property
    def name(self) -> str:
        """Its name in the catalogue."""

    async def run(self, params: Mapping[str, Any], *, touch_running: bool = False) -> Outcome:
        """Try once. Bounded in time by itself; cancelling it leaves nothing half done that a second attempt could not repair.

        Args:
            params: as the rule asks.
            touch_running: rule and policy both name running containers for it.
        """
