"""Why a rule has not fired: which pattern lacks a fact, what is waited for, which `unless` holds it back. Changes nothing."""

from typing import TYPE_CHECKING, Any

from engine.facts.clock import format_duration
from engine.rules.model import CountPattern, MissingPattern, Pattern

if TYPE_CHECKING:
    from engine.inference.core import Core
    from engine.inference.matches import Match, RuleNode

SHOWN = 10
"""Matches that are spoken of; their number is said."""


def why_not(core: "Core", rule: str) -> dict[str, Any]:
    """What each part of a rule says at this moment."""
    node = next((node for node in core.nodes if node.rule.id == rule), None)
    if node is None:
        return {"rule": rule, "known": False, "reasons": [f"there is no rule {rule} in force"]}
    patterns = _patterns(core, node)
    matches = list(node.matches.values())
    reasons = [f"pattern {name}: {state['says']}" for name, state in patterns.items() if not state["holds"]]
    if not matches and not reasons:
        reasons.append("each pattern has facts of its own, but none fit together: the fields that join them differ")
    reasons += [_of_match(core, node, match) for match in matches[:SHOWN]]
    if len(matches) > SHOWN:
        reasons.append(f"… and {len(matches) - SHOWN} more matches")
    return {"rule": rule, "known": True, "matches": len(matches), "patterns": patterns, "reasons": reasons}


def _patterns(core: "Core", node: "RuleNode") -> dict[str, dict[str, Any]]:
    slots = {slot.name: slot for slot in node.slots}
    found: dict[str, dict[str, Any]] = {}
    for pattern in node.rule.when:
        if isinstance(pattern, MissingPattern):
            found[pattern.name] = {"holds": True, "says": f"looks for {pattern.kind} not being seen"}
            continue
        items = slots[pattern.name].items
        held = sum(1 for item in core.memory if item.identity[0] == pattern.kind)
        found[pattern.name] = {"holds": bool(items), "facts": len(items), "says": _says(core, pattern, len(items), held)}
    return found


def _says(core: "Core", pattern: Pattern, passing: int, held: int) -> str:
    if isinstance(pattern, CountPattern):
        most = max(
            (
                group.count(watcher)
                for window in core.windows.values()
                for watcher in window.watchers
                if watcher.name.endswith(f"/{pattern.name}")
                and watcher.at_least == pattern.at_least
                and watcher.kind == pattern.kind
                for group in window.groups.values()
            ),
            default=0,
        )
        return (
            f"{passing} counts hold; the largest group has {most} of {pattern.at_least} within {format_duration(pattern.within)}"
        )
    if passing:
        return f"{passing} facts pass its tests"
    return f"no {pattern.kind} fact passes its tests ({held} are held)"


def _of_match(core: "Core", node: "RuleNode", match: "Match") -> str:
    bound = ", ".join("/".join(part[:40] for part in identity) for identity in match.key) or "(nothing bound)"
    if match in node.blocked:
        numbers = [str(number + 1) for number, slot in enumerate(node.unless) if slot.holds_back(match)]
        return f"{bound}: held back by `unless` number {', '.join(numbers)}"
    if match.since is None:
        return f"{bound}: what should be missing was seen too recently"
    due = match.since + node.rule.hold
    if due > core.now:
        return f"{bound}: has to hold for another {format_duration(due - core.now)}"
    if match.fired == node.version(match):
        return f"{bound}: it has fired on this already (activation {match.activation}); nothing that it tests or uses has changed"
    return f"{bound}: about to fire"
