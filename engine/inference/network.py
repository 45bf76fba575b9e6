"""Puts a rule into the network: its patterns where facts will find them. Knows the parts, not how they work."""

from typing import TYPE_CHECKING

from engine.inference.matches import RuleNode, UnlessSlot
from engine.inference.windows import CountTarget, Watcher, Window, watcher_name, window_key
from engine.rules.model import CountPattern, FactPattern, MissingPattern, Rule

if TYPE_CHECKING:
    from engine.inference.core import Core


def build(rule: Rule, core: "Core") -> RuleNode:
    """A rule at work in this core."""
    node = RuleNode(rule, core)
    binding = (pattern for pattern in rule.when if not isinstance(pattern, MissingPattern))
    for slot, pattern in zip(node.slots, binding, strict=True):
        if isinstance(pattern, FactPattern):
            core.alpha.add(pattern.kind, pattern.tests, slot)
        else:
            _watch(rule, pattern, slot, core)
    missing = (pattern for pattern in rule.when if isinstance(pattern, MissingPattern))
    for gate, unseen in zip(node.gates, missing, strict=True):
        core.alpha.add(unseen.kind, unseen.tests, gate)
    for held in rule.unless:
        unless = UnlessSlot(node, held)
        node.unless.append(unless)
        if isinstance(held, FactPattern):
            core.alpha.add(held.kind, held.tests, unless)
        else:
            _watch(rule, held, unless, core)
    return node


def _watch(rule: Rule, pattern: CountPattern, target: CountTarget, core: "Core") -> None:
    """A count looks at a window over the same facts; a field that must equal another pattern's is one more to group by."""
    own = tuple(test for test in pattern.tests if not test.refs)
    joined = tuple(test.path for test in pattern.tests if test.refs and test.path not in pattern.by)
    by = (*pattern.by, *dict.fromkeys(joined))
    window = core.windows.get(window_key(pattern.kind, own, by))
    if window is None:
        window = Window(pattern.kind, own, by, core.moment)
        core.windows[window.key] = window
        core.alpha.add(pattern.kind, own, window)
    window.watch(Watcher(watcher_name(rule.id, rule.version, pattern), pattern.kind, pattern.within, pattern.at_least, target))
