"""A rule fires: what its `then` asks for, as a sequence of consequences.

The sequence is lazy: each consequence is worked out after the one before it was applied, so that it sees what that one changed.
Changes nothing itself; `Core` applies.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

from pydantic import ValidationError

from engine.facts import DeclaredFact, Fact, FactKinds
from engine.facts.timestamps import SECOND, Micros, from_micros
from engine.inference.items import FactItem, Item
from engine.inference.match import Match
from engine.inference.memory import WorkingMemory
from engine.inference.support import RULE_SOURCE
from engine.inference.templates import render, value_in
from engine.rules.model import AlertEffect, AssertEffect, DoEffect, Rate, RetractEffect, Retry


@dataclass(frozen=True, slots=True)
class RaiseAlert:
    """Raise the rule's alert with this text; `advice` is what to do next."""

    text: str
    advice: str


@dataclass(frozen=True, slots=True)
class RequestAction:
    """Ask for an action."""

    action: str
    params: dict[str, Any]
    rate: Rate | None
    retry: Retry | None


@dataclass(frozen=True, slots=True)
class AssertFact:
    """Add a fact, which lives only while the match does when it is `while_supported`."""

    fact: Fact
    while_supported: bool


@dataclass(frozen=True, slots=True)
class RetractFact:
    """Take a fact out of working memory."""

    item: FactItem


@dataclass(frozen=True, slots=True)
class Impossible:
    """What the rule asks for cannot be (a field of the wrong type, say); the reason is for operators."""

    reason: str


Consequence = RaiseAlert | RequestAction | AssertFact | RetractFact | Impossible


@dataclass(frozen=True, slots=True)
class Firing:
    """One firing of one rule on one match: what all its decisions say, as it was when the rule fired."""

    match: Match
    key: str
    facts: tuple[str, ...]
    evidence: tuple[dict[str, Any], ...]

    @classmethod
    def of(cls, match: Match, evidence: dict[int, dict[str, Any]]) -> Self:
        """The match fires now. `evidence` is that of facts that fired at this moment already, by number: many rules share it."""
        return cls(
            match,
            render(match.rule.key, match),
            tuple([fact_id for item in match.items for fact_id in item.fact_ids()]),
            tuple([_evidence_of(item, evidence) for item in match.items]),
        )


def _evidence_of(item: Item, known: dict[int, dict[str, Any]]) -> dict[str, Any]:
    if not item.is_event or not isinstance(item, FactItem):
        return item.evidence()  # it may have changed since
    found = known.get(item.seq)
    if found is None:
        found = known[item.seq] = item.evidence()
    return found


def consequences(match: Match, now: Micros, kinds: FactKinds, memory: WorkingMemory) -> Iterator[Consequence]:
    """What the rule of a match asks for, in its order. Reads working memory when `retract` names a kind."""
    rule = match.rule
    asserted = 0
    for effect in rule.then:
        match effect:
            case AlertEffect():
                yield RaiseAlert(render(effect.text, match), render(rule.advice, match))
            case DoEffect():
                params = {name: value_in(value, match) for name, value in effect.params}
                yield RequestAction(effect.action, params, effect.rate, effect.retry)
            case AssertEffect():
                asserted += 1
                yield _assertion(effect, match, asserted, now, kinds)
            case RetractEffect():
                for item in _to_retract(effect, match, memory):
                    yield RetractFact(item)


def _assertion(effect: AssertEffect, match: Match, number: int, now: Micros, kinds: FactKinds) -> AssertFact | Impossible:
    content = {name: value_in(value, match) for name, value in effect.fields}
    content["fact_id"] = f"{match.activation}-{number}"
    content["at"] = from_micros(now)
    content["source"] = RULE_SOURCE + match.rule.id
    content["ttl"] = None if effect.ttl is None else effect.ttl / SECOND
    content["host"] = next((item.fact.host for item in match.items if isinstance(item, FactItem)), "")
    model = kinds.model(effect.kind)
    try:
        if model is None:
            fact: Fact = DeclaredFact.model_validate({**content, "fact": effect.kind})
        else:
            fact = model.model_validate({name: value for name, value in content.items() if value is not None})
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        return Impossible(f"rule {match.rule.id}: assert {effect.kind}: {where}: {first['msg']}")
    return AssertFact(fact, effect.while_supported)


def _to_retract(effect: RetractEffect, match: Match, memory: WorkingMemory) -> list[FactItem]:
    if effect.binding is not None:
        bound = match.bindings.get(effect.binding)
        item = None if bound is None else match.items[bound[0]]
        # An effect before this one may have taken it back already.
        return [item] if isinstance(item, FactItem) and memory.get(item.identity) is item else []
    wanted = {name: value_in(value, match) for name, value in effect.fields}
    return [
        item
        for item in memory.of_kind(effect.kind or "")
        if not item.is_event and all(item.values.get(name) == value for name, value in wanted.items())
    ]
