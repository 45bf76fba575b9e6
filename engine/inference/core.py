"""The core: facts in, decisions out.

One step takes one fact: the clock moves to its time, what became due before is run in the order of time, the fact enters working
memory, and the agenda runs until nothing more fires. Nothing is left over between steps, so it makes no difference how facts are
cut into batches, or where between two of them the process was stopped and went on from what `drain_changes` gave.
"""

from collections.abc import Mapping
from typing import Any

from engine.errors import DockwardenError
from engine.facts import Fact, FactKinds, Retraction
from engine.facts.outcomes import Alert
from engine.facts.timestamps import Micros, from_micros
from engine.inference.agenda import Agenda
from engine.inference.alerts import REMEMBERED_S, AlertBook
from engine.inference.alpha import AlphaNetwork
from engine.inference.decision import Changes, Decision
from engine.inference.effects import Firing
from engine.inference.items import FactItem, Identity, Node, values_of
from engine.inference.joins import JoinerPool
from engine.inference.keeping import Restoration, saved_fact, snapshot, withdrawn
from engine.inference.ledger import Ledger, encode
from engine.inference.matches import Match, RuleNode
from engine.inference.memory import WorkingMemory, expiry, retracted_identity
from engine.inference.moment import Moment
from engine.inference.network import build
from engine.inference.windows import Window
from engine.rules.model import RuleSet

FIRINGS_IN_ONE_MOMENT = 100_000
"""More than this without time moving on is a chain that feeds itself: the check refuses those that it can see."""


class EndlessChainError(DockwardenError):
    """Rules feed each other without end at one moment; the message names the rule that fired last."""


class Core:
    """Working memory, rules and what they have concluded so far."""

    def __init__(self, ruleset: RuleSet, *, keep_changes: bool = True, joiners: JoinerPool | None = None) -> None:
        self.ruleset = ruleset
        self.kinds = FactKinds().with_declared(ruleset.declared)
        self.ledger = Ledger(kept=keep_changes)
        self.moment = Moment(self.ledger)
        self.memory = WorkingMemory()
        self.alpha = AlphaNetwork()
        self.agenda = Agenda()
        self.alerts = AlertBook(self.moment)
        self.joiners = joiners or JoinerPool()
        self.restoring = False
        self.windows: dict[str, Window] = {}
        self.nodes: list[RuleNode] = [build(rule, self) for rule in ruleset.rules]
        self.faults: list[str] = []
        """What rules said that could not be done (a field of the wrong type, say); whoever runs the core empties it."""
        self.active: dict[str, Match] = {}
        """Matches by the activation on which they fired last: what was asked for there is still wanted."""
        self._unsupported: dict[Identity, None] = {}
        self._decisions: list[Decision] = []

    # -- the clock ----------------------------------------------------------------------------------------------------

    @property
    def now(self) -> Micros:
        """The latest moment seen; 0 before the first."""
        return self.moment.now

    @property
    def next_due(self) -> Micros | None:
        """When something will have to be looked at although no fact comes, None for never."""
        return self.moment.next_due

    def advance(self, now: Micros) -> list[Decision]:
        """Let time pass: what becomes due until then, that moment included, is decided in the order of time."""
        self._begin(now)
        moment = self.moment
        if self.agenda or self._unsupported or self.alerts.unsure:
            self._settle()  # what other rules than those before a restart, or a reload, make of what is there
        while (due := moment.next_due) is not None and due <= now:
            moment.move_to(due)
            moment.run_due()
            self._settle()
        if now > moment.now:
            moment.move_to(now)
            self._save_clock()
        return self._taken()

    def step(self, item: Fact | Retraction) -> list[Decision]:
        """Take one fact, or take one back.

        Raises:
            BadFactError: a retraction that can mean no state fact.
            EndlessChainError: rules feed each other without end.
        """
        at = item.at_micros
        moment = self.moment
        if moment.started is None or at > moment.now:
            if moment.started is None or ((due := moment.next_due) is not None and due <= at):
                self._decisions = self.advance(at)
            moment.now = at
        if isinstance(item, Retraction):
            self._retract(item)
        else:
            self.assert_fact(item)
        if self.agenda or self._unsupported or self.alerts.unsure:
            self._settle()
        self._save_clock()
        return self._taken()

    def _begin(self, at: Micros) -> None:
        if self.moment.started is None:
            self.moment.move_to(at)
            for node in self.nodes:
                node.start()
            self._settle()

    def _save_clock(self) -> None:
        if self.ledger.kept:
            self.ledger.put("clock", "clock", lambda: [self.moment.now, self.moment.started, self.moment.seq])

    def _taken(self) -> list[Decision]:
        decisions, self._decisions = self._decisions, []
        return decisions

    # -- working memory -----------------------------------------------------------------------------------------------

    def assert_fact(self, fact: Fact, supporter: Match | None = None) -> None:
        """A fact enters working memory, or takes the place of the one that had its identity."""
        nodes = None
        if fact.KEY is None:
            nodes = self.alpha.nodes_for(fact.KIND, fact.__dict__)
            if not nodes:  # an event that no pattern asks for, which is what most are
                return
        if not fact.fact_id:
            fact = fact.with_id(f"{fact.fact_kind}-{self.moment.next_seq()}")
        expires = expiry(fact)
        identity = fact.identity
        held = self.memory.get(identity)
        if expires is not None and expires <= self.moment.now:
            if held is not None and not held.is_event and fact.at_micros >= held.fact.at_micros:
                self.remove(held)  # what it came to replace was over before it came, and now it is over itself
            return
        if held is None:
            item = FactItem(fact, identity, 0, expires)
            self._enter(item, self.alpha.nodes_for(identity[0], item.values) if nodes is None else nodes, supporter)
        elif not held.is_event and fact.at_micros >= held.fact.at_micros:
            self._replace(held, fact, expires, supporter)

    def _enter(self, item: FactItem, nodes: tuple[Node, ...], supporter: Match | None) -> None:
        item.seq = self.moment.next_seq()
        if not item.is_event or any(node.keeps for node in nodes):
            if supporter is not None:
                item.supporters = {supporter.id}
            self.memory.add(item)
            self._expires(item)
            self.save(item)
            item.nodes = nodes
        for node in nodes:
            node.insert(item)

    def take_back(self, item: FactItem) -> None:
        """A fact from the journal: it was here before."""
        self.memory.add(item)
        self._expires(item)
        item.nodes = self.alpha.nodes_for(item.identity[0], item.values)
        for node in item.nodes:
            node.insert(item)

    def _replace(self, item: FactItem, fact: Fact, expires: Micros | None, supporter: Match | None) -> None:
        old, old_nodes = item.values, item.nodes
        item.fact = fact
        item.values = values_of(fact)
        item.expires = expires
        if supporter is None:
            item.supporters = None  # somebody said so who does not depend on a match
        elif item.supporters is not None:
            item.supporters.add(supporter.id)
        self._expires(item)
        self.save(item)
        nodes = item.nodes = self.alpha.nodes_for(item.identity[0], item.values)
        for node in old_nodes:
            if node not in nodes:
                item.values, new = old, item.values  # it leaves as what it was
                node.remove(item)
                item.values = new
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
        self.ledger.delete("fact", encode(item.identity))
        for node in item.nodes:
            node.remove(item)

    def _retract(self, retraction: Retraction) -> None:
        item = self.memory.get(retracted_identity(retraction, self.kinds))
        if item is not None and retraction.at_micros >= item.fact.at_micros:
            self.remove(item)

    def _expires(self, item: FactItem) -> None:
        if item.expires is not None:
            self.moment.call_at(item.expires, self._expire, item)

    def _expire(self, item: FactItem) -> None:
        if item.expires is not None and item.expires <= self.moment.now:
            self.remove(item)

    def save(self, item: FactItem) -> None:
        """Have the journal keep a fact."""
        if self.ledger.kept:
            self.ledger.put("fact", encode(item.identity), lambda: saved_fact(item))

    # -- what follows -------------------------------------------------------------------------------------------------

    def _settle(self) -> None:
        """Run the agenda until nothing more follows at this moment."""
        firings = 0
        while True:
            self._drop_unsupported()
            match = self.agenda.pop()
            if match is None:
                resolved = self.alerts.resolve_unsupported()
                if not resolved and not self._unsupported and not self.agenda:
                    return
                for decision in resolved:
                    self.decide(decision)
                    self._note_alert(decision)
                continue
            firings += 1
            if firings > FIRINGS_IN_ONE_MOMENT:
                raise EndlessChainError(f"rule {match.node.rule.id} and those that it feeds do not come to an end at one moment")
            if match.node.ready(match):
                Firing(self, match).run()

    def decide(self, decision: Decision) -> None:
        """Something was decided."""
        self._decisions.append(decision)
        if decision.does == "alert" and decision.status == "firing":
            self._note_alert(decision)

    def _note_alert(self, decision: Decision) -> None:
        """An alert is a fact that rules may depend on; a resolved one for as long as it is remembered."""
        assert decision.alert is not None  # noqa: S101 - decisions about alerts carry them
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

    def support_lost(self, match: Match) -> None:
        """A match is gone: what stood on it alone goes too."""
        for identity in match.asserted:
            self.withdraw_support(identity, match)
        match.asserted.clear()
        self.active.pop(match.activation, None)
        self.alerts.withdraw(match)

    def withdraw_support(self, identity: Identity, match: Match) -> None:
        """A match supports a fact no longer."""
        item = self.memory.get(identity)
        if item is not None and item.supporters is not None:
            item.supporters.discard(match.id)
            self.save(item)
            if not item.supporters:
                self._unsupported[identity] = None

    def _drop_unsupported(self) -> None:
        while self._unsupported:
            identity = next(iter(self._unsupported))
            del self._unsupported[identity]
            item = self.memory.get(identity)
            if item is not None and item.supporters is not None and not item.supporters:
                self.decide(withdrawn(item, self.moment.now))
                self.remove(item)

    # -- keeping and coming back --------------------------------------------------------------------------------------

    def drain_changes(self) -> Changes:
        """What the journal is to keep of what happened since the last call."""
        return self.ledger.drain()

    @classmethod
    def restore(
        cls,
        ruleset: RuleSet,
        entries: Mapping[tuple[str, str], str],
        *,
        keep_changes: bool = True,
        joiners: JoinerPool | None = None,
    ) -> "Core":
        """A core that goes on from what was kept, perhaps with other rules.

        The state of rules that are unchanged is kept whole. What follows from changed ones comes with the next call.
        """
        core = cls(ruleset, keep_changes=keep_changes, joiners=joiners)
        Restoration(core, entries).run()
        return core

    def snapshot(self) -> dict[tuple[str, str], str]:
        """Everything that the journal would hold now."""
        return snapshot(self)

    def pending_support(self, identity: Identity) -> None:
        """A restored fact whose supporters are all gone."""
        self._unsupported[identity] = None

    def status(self) -> dict[str, Any]:
        """Sizes, for `status`."""
        return {"facts": len(self.memory), "matches": sum(len(node.matches) for node in self.nodes), "rules": len(self.nodes)}
