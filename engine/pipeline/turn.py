"""One round of the loop as a value: what its stages work on, and what they lead to. Knows no stage."""

from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import urlencode

from engine.facts.timestamps import Micros
from engine.guardrails import Policy
from engine.inference.core import Core
from engine.inference.memory import Bounds
from engine.journal.records import Batch
from engine.pipeline.intake import Question
from engine.pipeline.jobs import Job


@dataclass(frozen=True, slots=True)
class Options:
    """What the stages need to know of the settings."""

    host: str
    policy: Policy
    runbooks_url: str = ""
    """What stands before relative runbooks; empty: they stay as the rule has them."""
    page_url: str = ""
    """Where the fleet's page is reached; empty: alerts link to none."""
    publish_facts: tuple[str, ...] = ()
    """Fact kinds that are published too; none by default."""
    bounds: Bounds = field(default_factory=Bounds)
    """How many events working memory holds."""

    def incident_url(self, incident: str) -> str:
        """Where an incident is shown, empty for nowhere."""
        return f"{self.page_url.rstrip('/')}/?{urlencode({'incident': incident})}" if self.page_url else ""

    def runbook(self, named: str) -> str | None:
        """Where a runbook can be read, None for none."""
        if named and self.runbooks_url and "://" not in named:
            return f"{self.runbooks_url.rstrip('/')}/{named.lstrip('/')}"
        return named or None


@dataclass(slots=True)
class Turn:
    """Handed from stage to stage, once around. Each stage reads what it needs and adds what it leads to."""

    now: Micros
    """The wall clock at the beginning of the round: the same moment for every stage."""
    monotonic: float
    """Seconds of a clock that never goes back, at the same moment: rates, caps and breakers go by it."""
    core: Core
    """The one in force; accepted rules put another one in its place."""
    rules_version: str
    can_act: bool
    """Whether the journal takes what is decided: nothing is done that could be forgotten."""
    frozen: bool
    """Whether an operator has stopped all actions."""
    frozen_actions: frozenset[str]
    """Actions that an operator has stopped by themselves."""
    next_seq: Callable[[], int]
    """Numbers messages."""
    batch: Batch = field(default_factory=Batch)
    """What this round leads to; committed as one transaction before anything leaves the process."""
    attempts: list[Job] = field(default_factory=list)
    """Jobs whose next attempt begins once the batch is committed."""
    questions: list[Question] = field(default_factory=list)
    """Answered at the end of the round."""
