"""What a matcher decided, in the form in which the naive one and the real one are compared."""

from dataclasses import dataclass
from typing import Literal

from engine.facts.timestamps import Micros
from engine.inference.decision import AlertDecision, Decision

Identity = tuple[object, ...]
"""Names a fact, or a match, among others."""


@dataclass(frozen=True)
class Said:
    """One decision, with what the comparison looks at.

    `facts` holds one tuple of fact ids for each pattern: one id for a fact, all ids of the window for a count, none for missing.
    """

    at: Micros
    rule: str
    key: str
    does: Literal["alert", "action", "assert", "retract"]
    status: Literal["firing", "resolved"] | None = None
    facts: tuple[tuple[str, ...], ...] = ()
    action: str | None = None
    params: tuple[tuple[str, object], ...] = ()
    fact: Identity | None = None
    text: str = ""


def status_of(decision: Decision) -> str | None:
    """Whether an alert fires or is resolved; None for other decisions."""
    return decision.status if isinstance(decision, AlertDecision) else None
