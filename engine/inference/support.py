"""What matches support: facts asserted `while_supported`, alerts, and the actions that are still wanted.

What goes because its last support went, goes in the order of all decisions: priority, file and place of the rule that asserted
it, then the order in which it entered.
"""

import heapq
from collections.abc import Iterable

from engine.inference.alerts import NO_RULE, AlertBook, Order
from engine.inference.items import FactItem, Identity
from engine.inference.match import Match
from engine.inference.memory import WorkingMemory
from engine.rules.model import Rule

RULE_SOURCE = "rule:"
"""A fact that a rule asserted has this and the rule's id as its source."""


class Support:
    """Which facts and alerts live on which matches."""

    def __init__(self, memory: WorkingMemory, alerts: AlertBook, rules: Iterable[Rule]) -> None:
        self._memory = memory
        self._alerts = alerts
        self._orders: dict[str, Order] = {RULE_SOURCE + rule.id: (-rule.priority, rule.order) for rule in rules}
        self.active: dict[str, Match] = {}
        """Matches by the activation on which they fired last: what was asked for there is still wanted."""
        self.unsupported: list[tuple[Order, int, int, FactItem]] = []
        """Facts that may have lost their last support, as a heap in the order in which they go."""
        self._pushed = 0

    def fired(self, match: Match, version: str) -> None:
        """A match fires on a version of its facts."""
        match.fired = version
        self.active.pop(match.activation, None)
        match.activation = match.activation_id(version)
        self.active[match.activation] = match

    def lost(self, match: Match) -> None:
        """A match is gone: what only it supported goes too."""
        for identity in match.asserted:
            self.withdraw(identity, match)
        match.asserted = {}
        self.active.pop(match.activation, None)
        self._alerts.withdraw(match)

    def withdraw(self, identity: Identity, match: Match) -> None:
        """A match supports a fact no longer."""
        item = self._memory.get(identity)
        if item is not None and item.supporters is not None:
            item.supporters.pop(match.id, None)
            self._memory.save(item)
            if not item.supporters:
                self._push(item)

    def restore(self, matches: Iterable[Match]) -> None:
        """After a restart: these matches are there still, and only these support anything."""
        known = {match.id: match for match in matches}
        for match in known.values():
            if match.fired is not None:
                self.active[match.activation] = match
        for item in self._memory:
            if item.supporters is not None:
                item.supporters = {match_id: None for match_id in item.supporters if match_id in known}
                if not item.supporters:
                    self._push(item)

    def next_unsupported(self) -> FactItem | None:
        """The next fact that nothing supports any more, None when there is none."""
        while self.unsupported:
            _, _, _, item = heapq.heappop(self.unsupported)
            if item.supporters == {} and self._memory.get(item.identity) is item:
                return item
        return None

    def _push(self, item: FactItem) -> None:
        self._pushed += 1
        order = self._orders.get(item.fact.source, NO_RULE)
        heapq.heappush(self.unsupported, (order, item.seq, self._pushed, item))
