"""A rule fires: what its `then` says becomes decisions, and facts that enter at the same moment."""

from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from engine.facts import DeclaredFact, Fact
from engine.facts.timestamps import SECOND, from_micros
from engine.inference.decision import Decision
from engine.inference.items import FactItem
from engine.inference.matches import Match
from engine.inference.rendering import render, value_in
from engine.rules.model import AlertEffect, AssertEffect, DoEffect, RetractEffect

if TYPE_CHECKING:
    from engine.inference.core import Core


class Firing:
    """One firing of one rule on one match."""

    def __init__(self, core: "Core", match: Match) -> None:
        self._core = core
        self._match = match
        self._rule = match.node.rule
        self._key = render(self._rule.key, match)
        self._facts = tuple(fact_id for item in match.items for fact_id in item.fact_ids())
        self._evidence = tuple(item.evidence() for item in match.items)
        self._asserted = 0

    def run(self) -> None:
        """Do what the rule says, in its order."""
        match, node = self._match, self._match.node
        version = node.version(match)
        match.fired = version
        self._core.active.pop(match.activation, None)
        match.activation = node.activation_id(match, version)
        self._core.active[match.activation] = match
        stood_on_it, match.asserted = match.asserted, set()
        if match.raised is not None and match.raised != self._key:
            self._core.alerts.withdraw(match)
        for effect in self._rule.then:
            match effect:
                case AlertEffect():
                    text = render(effect.text, self._match)
                    self._core.decide(
                        self._core.alerts.fire(
                            self._rule,
                            self._key,
                            text,
                            self._match,
                            self._evidence,
                            self._facts,
                            advice=render(self._rule.advice, match),
                        ),
                    )
                case DoEffect():
                    params = {name: value_in(value, self._match) for name, value in effect.params}
                    self._decide("action", action=effect.action, params=params, rate=effect.rate, retry=effect.retry)
                case AssertEffect():
                    self._assert(effect)
                case RetractEffect():
                    self._retract(effect)
        self._no_longer_asserted(stood_on_it - self._match.asserted)
        if node.alive(self._match):
            node.save(self._match)
        else:  # its own effects ended it: what it supports goes with it
            self._core.support_lost(self._match)

    def _decide(self, does: Any, **more: Any) -> None:
        self._core.decide(
            Decision(
                at=self._core.now,
                rule=self._rule.id,
                key=self._key,
                does=does,
                facts=self._facts,
                activation=self._match.activation,
                evidence=self._evidence,
                **more,
            )
        )

    def _assert(self, effect: AssertEffect) -> None:
        fact = self._fact(effect)
        if fact is None:
            return
        self._decide("assert", fact=fact)
        self._core.assert_fact(fact, self._match if effect.while_supported else None)
        if effect.while_supported:
            self._match.asserted.add(fact.identity)

    def _fact(self, effect: AssertEffect) -> Fact | None:
        self._asserted += 1
        content = {name: value_in(value, self._match) for name, value in effect.fields}
        content["fact_id"] = f"{self._match.activation}-{self._asserted}"
        content["at"] = from_micros(self._core.now)
        content["source"] = f"rule:{self._rule.id}"
        content["ttl"] = None if effect.ttl is None else effect.ttl / SECOND
        content["host"] = next((item.fact.host for item in self._match.items if isinstance(item, FactItem)), "")
        model = self._core.kinds.model(effect.kind)
        try:
            if model is None:
                return DeclaredFact.model_validate({**content, "fact": effect.kind})
            return model.model_validate({name: value for name, value in content.items() if value is not None})
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            self._core.faults.append(f"rule {self._rule.id}: assert {effect.kind}: {where}: {first['msg']}")
            return None

    def _retract(self, effect: RetractEffect) -> None:
        for item in self._to_retract(effect):
            self._decide("retract", fact=item.fact)
            self._core.remove(item)

    def _to_retract(self, effect: RetractEffect) -> list[FactItem]:
        if effect.binding is not None:
            bound = [
                item for slot, item in zip(self._match.node.slots, self._match.items, strict=True) if slot.name == effect.binding
            ]
            # An effect before this one may have taken it back already.
            return [item for item in bound if isinstance(item, FactItem) and self._core.memory.get(item.identity) is item]
        wanted = {name: value_in(value, self._match) for name, value in effect.fields}
        return [
            item
            for item in self._core.memory
            if item.identity[0] == effect.kind
            and not item.is_event
            and all(item.values.get(name) == value for name, value in wanted.items())
        ]

    def _no_longer_asserted(self, identities: set[tuple[str, ...]]) -> None:
        for identity in identities:
            self._core.withdraw_support(identity, self._match)
