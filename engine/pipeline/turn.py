"""One round of the loop as a value: what its stages work on, and what they lead to. Knows no stage."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from engine.action_catalog import ACTIONS
from engine.facts import Fact, Retraction
from engine.facts.host import Source
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


_RESTORED_KINDS = frozenset({"container"}).union(*(spec.stands_on for spec in ACTIONS.values()))


class Untold:
    """Facts that the journal kept and that their source has not told anew since the start: nothing may be changed on them."""

    def __init__(self, facts: Iterable[Fact] = ()) -> None:
        self._left: dict[str, set[tuple[str, ...]]] = {}
        for fact in facts:
            if fact.fact_kind in _RESTORED_KINDS:
                self._left.setdefault(fact.fact_kind, set()).add(fact.identity[1:])

    def tell(self, fact: Fact | Retraction) -> None:
        """A source told something. Once Docker's containers were listed, all of them are told: those that are gone, too."""
        if not self._left:
            return
        if isinstance(fact, Retraction):
            left = self._left.get(fact.retract, set())
            left -= {identity for identity in left if "|".join(identity) == fact.key}
        elif isinstance(fact, Source):
            if fact.name == "docker_listing" and fact.status == "ok":
                self._left.pop("container", None)
        else:
            self._left.get(fact.fact_kind, set()).discard(fact.identity[1:])

    def concern(self, action: str, params: Mapping[str, Any]) -> bool:
        """Whether the action would stand on one of them."""
        if any(self._left.get(kind) for kind in ACTIONS[action].stands_on):
            return True
        containers = self._left.get("container", set())
        return any((value,) in containers for value in params.values() if isinstance(value, str))


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
    untold: Untold = field(default_factory=Untold)
    """What the journal kept and nobody has told anew since the start."""
    batch: Batch = field(default_factory=Batch)
    """What this round leads to; committed as one transaction before anything leaves the process."""
    attempts: list[Job] = field(default_factory=list)
    """Jobs whose next attempt begins once the batch is committed."""
    questions: list[Question] = field(default_factory=list)
    """Answered at the end of the round."""
