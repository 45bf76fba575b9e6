"""Puts rules into the network: their patterns where facts will find them. Knows the parts, not how they work."""

from engine.inference.alpha import AlphaNetwork
from engine.inference.rule_node import Parts, RuleNode, UnlessSlot
from engine.inference.windows import CountTarget, Threshold, Window, threshold_name, window_key
from engine.rules.model import CountPattern, FactPattern, MissingPattern, Rule


class Network:
    """The alpha network, and the windows that several rules share."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self.alpha = AlphaNetwork()
        self.windows: dict[str, Window] = {}

    def add(self, rule: Rule) -> RuleNode:
        """A rule at work in this network."""
        node = RuleNode(rule, self._parts)
        binding = (pattern for pattern in rule.when if not isinstance(pattern, MissingPattern))
        for slot, pattern in zip(node.slots, binding, strict=True):
            if isinstance(pattern, FactPattern):
                self.alpha.add(pattern.kind, pattern.tests, slot)
            else:
                self._count(rule, pattern, slot)
        missing = (pattern for pattern in rule.when if isinstance(pattern, MissingPattern))
        for gate, unseen in zip(node.gates, missing, strict=True):
            self.alpha.add(unseen.kind, unseen.tests, gate)
        for blocking in rule.unless:
            unless = UnlessSlot(node, blocking)
            node.unless.append(unless)
            if isinstance(blocking, FactPattern):
                self.alpha.add(blocking.kind, blocking.tests, unless)
            else:
                self._count(rule, blocking, unless)
        return node

    def _count(self, rule: Rule, pattern: CountPattern, target: CountTarget) -> None:
        """A count looks at a window over the same facts; a field that must equal another pattern's is one more to group by."""
        own = tuple(test for test in pattern.tests if not test.refs)
        joined = tuple(test.path for test in pattern.tests if test.refs and test.path not in pattern.by)
        by = (*pattern.by, *dict.fromkeys(joined))
        window = self.windows.get(window_key(pattern.kind, own, by))
        if window is None:
            window = Window(pattern.kind, own, by, self._parts.clock, self._parts.changes)
            self.windows[window.key] = window
            self.alpha.add(pattern.kind, own, window)
        name = threshold_name(rule.id, rule.version, pattern)
        window.add_threshold(Threshold(name, pattern.kind, pattern.within, pattern.at_least, target))
