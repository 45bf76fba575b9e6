"""The core: facts in, decisions out.

One step takes one fact: the clock moves to its time, what became due before is run in the order of time, the fact enters working
memory, and the agenda runs until nothing more fires. Nothing is left over between steps, so it makes no difference how facts are
cut into batches, or where between two of them the process was stopped and went on from what `drain_changes` gave.

Knows nothing of journals: `persistence` and `diagnosis` stand above it.
"""

from typing import Any

from engine.errors import DockwardenError
from engine.facts import Fact, FactKinds, Retraction
from engine.facts.outcomes import Alert
from engine.facts.timestamps import Micros, from_micros
from engine.inference.agenda import Agenda
from engine.inference.alerts import REMEMBERED_S, AlertBook
from engine.inference.change_log import ChangeLog
from engine.inference.clock import EventClock
from engine.inference.decision import ActionDecision, AlertDecision, AssertDecision, Changes, Decision, RetractDecision
from engine.inference.effects import (
    AssertFact,
    Consequence,
    Firing,
    Impossible,
    RaiseAlert,
    RequestAction,
    RetractFact,
    consequences,
)
from engine.inference.items import FactItem, Node, StateItem, expiry
from engine.inference.joins import Kind, kind_in_use
from engine.inference.match import Match
from engine.inference.memory import Bounds, WorkingMemory, retracted_identity
from engine.inference.network import Network
from engine.inference.rule_node import Parts, RuleNode
from engine.inference.support import RULE_SOURCE, Support
from engine.inference.windows import Window
from engine.rules.model import RuleSet

FIRINGS_IN_ONE_MOMENT = 100_000
"""More than this without time moving on is a chain that feeds itself: the check refuses those that it can see."""


class EndlessChainError(DockwardenError):
    """Rules feed each other without end at one moment; the message names the rule that fired last."""


class Core:
    """Working memory, rules and what they have concluded so far."""

    def __init__(
        self, ruleset: RuleSet, *, keep_changes: bool = True, combination: Kind | None = None, bounds: Bounds | None = None
    ) -> None:
        self.ruleset = ruleset
        self.kinds = FactKinds().with_declared(ruleset.declared)
        self.changes = ChangeLog(enabled=keep_changes)
        self.clock = EventClock()
        self.memory = WorkingMemory(self.changes, bounds)
        self.alerts = AlertBook(self.clock, self.changes)
        self.support = Support(self.memory, self.alerts, ruleset.rules)
        self._agenda = Agenda()
        self._network = Network(Parts(self.clock, self.changes, self._agenda, self.support, combination))
        self._alpha = self._network.alpha
        self._nodes: dict[str, RuleNode] = {rule.id: self._network.add(rule) for rule in ruleset.rules}
        self.faults: list[str] = []
        """What rules asked for that could not be done (a field of the wrong type, say); whoever runs the core empties it."""
        self._decisions: list[Decision] = []
        self._clock_changed = False

    @property
    def nodes(self) -> list[RuleNode]:
        """Every rule at work, in order."""
        return list(self._nodes.values())

    @property
    def windows(self) -> dict[str, Window]:
        """What is counted, by the key of each window."""
        return self._network.windows

    @property
    def active(self) -> dict[str, Match]:
        """Matches by the activation on which they fired last: what was asked for there is still wanted."""
        return self.support.active

    # -- the clock ----------------------------------------------------------------------------------------------------

    @property
    def now(self) -> Micros:
        """The latest moment seen; 0 before the first."""
        return self.clock.now

    @property
    def next_due(self) -> Micros | None:
        """When something will have to be looked at although no fact comes, None for never."""
        due, over = self.clock.next_due, self.memory.next_expiry
        return over if due is None else due if over is None else min(due, over)

    def advance(self, now: Micros) -> list[Decision]:
        """Let time pass: what becomes due until then, that moment included, is decided in the order of time."""
        self._begin(now)
        clock = self.clock
        if self._agenda.waiting or self.support.unsupported or self.alerts.pending_resolution:
            self._settle()  # what other rules than those before a restart, or a reload, make of what is there
        while (due := self.next_due) is not None and due <= now:
            clock.move_to(due)
            for item in self.memory.expired(clock.now):
                self.remove(item)
            clock.run_due()
            self._settle()
        if now > clock.now:
            clock.move_to(now)
        self._clock_changed = True
        return self._taken()

    def step(self, item: Fact | Retraction) -> list[Decision]:
        """Take one fact, or take one back.

        Raises:
            BadFactError: a retraction that can mean no state fact.
            EndlessChainError: rules feed each other without end.
        """
        at = item.at_micros
        clock = self.clock
        if at > clock.now or clock.started is None:
            if at >= clock.due_from or at >= self.memory.due_from or clock.started is None:
                self._decisions = self.advance(at)
            clock.now = at
        self._clock_changed = True
        if isinstance(item, Retraction):
            self._retract(item)
        elif item.KEY is None:
            nodes = self._alpha.nodes_for(item.KIND, item.__dict__)
            if nodes:  # most events are such that no pattern asks for
                self._assert_event(item, nodes, None)
        else:
            self.assert_fact(item)
        if self._agenda.waiting or self.support.unsupported or self.alerts.pending_resolution:
            self._settle()
        return self._taken() if self._decisions else []

    def _begin(self, at: Micros) -> None:
        if self.clock.started is None:
            self.clock.move_to(at)
            for node in self.nodes:
                node.start()
            self._settle()

    def _taken(self) -> list[Decision]:
        decisions, self._decisions = self._decisions, []
        return decisions

    # -- working memory -----------------------------------------------------------------------------------------------

    def assert_fact(self, fact: Fact, supporter: Match | None = None) -> None:
        """A fact enters working memory, or takes the place of the one that had its identity."""
        if fact.KEY is None:
            nodes = self._alpha.nodes_for(fact.KIND, fact.__dict__)
            if nodes:
                self._assert_event(fact, nodes, supporter)
            return
        if not fact.fact_id:
            fact = fact.with_id(f"{fact.fact_kind}-{self.clock.next_seq()}")
        expires = expiry(fact)
        held = self.memory.get(fact.identity)
        newer = held is not None and fact.at_micros >= held.fact.at_micros
        if expires is not None and expires <= self.clock.now:
            if held is not None and newer:
                self.remove(held)  # what it came to replace was over before it came, and now it is over itself
        elif held is None:
            item = StateItem(fact, self.clock.next_seq())
            self._enter(item, self._alpha.nodes_for(fact.fact_kind, item.values), supporter)
        elif newer and isinstance(held, StateItem):
            self._replace(held, fact, expires, supporter)

    def _assert_event(self, fact: Fact, nodes: tuple[Node, ...], supporter: Match | None) -> None:
        if not fact.fact_id:
            fact = fact.with_id(f"{fact.fact_kind}-{self.clock.next_seq()}")
        expires = expiry(fact)
        if (expires is not None and expires <= self.clock.now) or self.memory.get((fact.KIND, fact.fact_id)) is not None:
            return
        item = FactItem(fact, self.clock.next_seq())
        if any(node.retains_events for node in nodes):
            self._enter(item, nodes, supporter)
            for oldest in self.memory.overfull(item):
                self.remove(oldest)
        else:
            for node in nodes:
                node.insert(item)

    def _enter(self, item: FactItem, nodes: tuple[Node, ...], supporter: Match | None) -> None:
        if supporter is not None:
            item.supporters = {supporter.id: None}
        self.memory.add(item)
        self.memory.save(item)
        item.nodes = self._alpha.shared(nodes)
        for node in nodes:
            node.insert(item)

    def restore_item(self, item: FactItem) -> None:
        """A fact from the journal: it was here before."""
        self.memory.add(item)
        item.nodes = self._alpha.nodes_for(item.identity[0], item.values)
        for node in item.nodes:
            node.insert(item)
        if item.is_event:
            for oldest in self.memory.overfull(item):
                self.remove(oldest)

    def _replace(self, item: StateItem, fact: Fact, expires: Micros | None, supporter: Match | None) -> None:
        old, old_nodes = item.values, item.nodes
        item.replace(fact)
        if supporter is None:
            item.supporters = None  # somebody said so who does not depend on a match
        elif item.supporters is not None:
            item.supporters[supporter.id] = None
        if expires is not None:
            self.memory.expire_at(expires, item)
        self.memory.save(item)
        nodes = item.nodes = self._alpha.nodes_for(item.identity[0], item.values)
        for node in old_nodes:
            if node not in nodes:
                with item.as_it_was(old):
                    node.remove(item)
        for node in nodes:
            if node in old_nodes:
                node.update(item, old)
            else:
                node.insert(item)

    def remove(self, item: FactItem) -> None:
        """A fact is no longer so."""
        if self.memory.get(item.identity) is not item:
            return
        self.memory.discard(item)
        for node in item.nodes:
            node.remove(item)

    def _retract(self, retraction: Retraction) -> None:
        item = self.memory.get(retracted_identity(retraction, self.kinds))
        if item is not None and retraction.at_micros >= item.fact.at_micros:
            self.remove(item)

    # -- what follows -------------------------------------------------------------------------------------------------

    def _settle(self) -> None:
        """Run the agenda until nothing more follows at this moment."""
        firings = 0
        evidence: dict[int, dict[str, Any]] = {}
        while True:
            self._drop_unsupported()
            match = self._agenda.pop()
            if match is None:
                resolved = self.alerts.resolve_unsupported()
                if not resolved and not self.support.unsupported and not self._agenda.waiting:
                    return
                for decision in resolved:
                    self._decisions.append(decision)
                    self._note_alert(decision)
                continue
            firings += 1
            if firings > FIRINGS_IN_ONE_MOMENT:
                raise EndlessChainError(f"rule {match.rule.id} and those that it feeds do not come to an end at one moment")
            node = self._nodes[match.rule.id]
            if node.ready(match):
                self._fire(node, match, evidence)

    def _fire(self, node: RuleNode, match: Match, evidence: dict[int, dict[str, Any]]) -> None:
        """A rule fires: apply what follows, one consequence after the other."""
        firing = Firing.of(match, evidence)
        self.support.fired(match, node.version(match))
        previously_asserted, match.asserted = match.asserted, {}
        if match.raised is not None and match.raised != firing.key:
            self.alerts.withdraw(match)
        for consequence in consequences(match, self.now, self.kinds, self.memory):
            self._apply(consequence, firing)
        for identity in previously_asserted:
            if identity not in match.asserted:
                self.support.withdraw(identity, match)
        if node.alive(match):
            node.save(match)
        else:  # its own effects ended it: what it supports goes with it
            self.support.lost(match)

    def _apply(self, consequence: Consequence, firing: Firing) -> None:
        match, key, facts, evidence = firing.match, firing.key, firing.facts, firing.evidence
        rule, activation = match.rule.id, match.activation
        match consequence:
            case RaiseAlert(text, advice):
                alert = self.alerts.fire(match.rule, key, text, match, evidence, facts, advice=advice)
                self._decisions.append(alert)
                self._note_alert(alert)
            case RequestAction(action, params, rate, retry):
                self._decisions.append(
                    ActionDecision(
                        at=self.now,
                        rule=rule,
                        key=key,
                        facts=facts,
                        activation=activation,
                        evidence=evidence,
                        action=action,
                        params=params,
                        rate=rate,
                        retry=retry,
                    )
                )
            case AssertFact(fact, while_supported):
                self._decisions.append(
                    AssertDecision(
                        at=self.now, rule=rule, key=key, facts=facts, activation=activation, evidence=evidence, fact=fact
                    )
                )
                self.assert_fact(fact, match if while_supported else None)
                if while_supported:
                    match.asserted[fact.identity] = None
            case RetractFact(item):
                self._decisions.append(
                    RetractDecision(
                        at=self.now, rule=rule, key=key, facts=facts, activation=activation, evidence=evidence, fact=item.fact
                    )
                )
                self.remove(item)
            case Impossible(reason):
                self.faults.append(reason)

    def _note_alert(self, decision: AlertDecision) -> None:
        """An alert is a fact that rules may depend on; a resolved one for as long as it is remembered."""
        fact = Alert.model_validate(
            {
                "fact_id": f"{decision.activation}-{decision.status}",
                "at": from_micros(decision.at),
                "source": "rule",
                "ttl": REMEMBERED_S if decision.status == "resolved" else None,
                "rule": decision.rule,
                "key": decision.key,
                "severity": decision.alert.severity,
                "status": decision.status,
            }
        )
        self.assert_fact(fact)

    def _drop_unsupported(self) -> None:
        """Withdraw what nothing supports any more."""
        while (item := self.support.next_unsupported()) is not None:
            fact = item.fact
            self._decisions.append(
                RetractDecision(
                    at=self.now,
                    rule=fact.source.removeprefix(RULE_SOURCE),
                    key="",
                    facts=(),
                    activation=fact.fact_id.rpartition("-")[0],
                    fact=fact,
                )
            )
            self.remove(item)

    # -- the journal and the status -----------------------------------------------------------------------------------

    def drain_changes(self) -> Changes:
        """What the journal is to write and delete of what happened since the last call."""
        if self._clock_changed and self.changes.enabled:
            self._clock_changed = False
            self.changes.put("clock", "clock", lambda: [self.clock.now, self.clock.started, self.clock.seq])
        return self.changes.drain()

    def status(self) -> dict[str, Any]:
        """Sizes, for `status`."""
        nodes = self._nodes.values()
        return {
            "facts": len(self.memory),
            "matches": sum(len(node.matches) for node in nodes),
            "rules": len(nodes),
            "joins": kind_in_use(),
            "dropped": [{"kind": kind, "bound": bound, "count": count} for (kind, bound), count in self.memory.dropped.items()],
        }
