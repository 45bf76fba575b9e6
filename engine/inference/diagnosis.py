"""Why a rule has not fired: which pattern lacks a fact, what is waited for, which `unless` holds it back. Changes nothing."""

from typing import Any

from engine.facts.timestamps import format_duration
from engine.inference.conditions import constant, getter
from engine.inference.core import Core
from engine.inference.items import FactItem
from engine.inference.match import Match
from engine.inference.rule_node import RuleNode
from engine.inference.windows import threshold_name
from engine.rules.model import Condition, CountPattern, FactPattern, MissingPattern, Ref, Rule, Scalar

SHOWN = 10
"""Matches that are described one by one; their number is given."""

_LENGTH = 40
"""Characters of a value: enough of an id to find it by."""


def why_not(core: Core, rule: str) -> dict[str, Any]:
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


def _patterns(core: Core, node: RuleNode) -> dict[str, dict[str, Any]]:
    slots = {slot.name: slot for slot in node.slots}
    found: dict[str, dict[str, Any]] = {}
    for pattern in node.rule.when:
        if isinstance(pattern, MissingPattern):
            found[pattern.name] = {"holds": True, "says": f"looks for {pattern.kind} not being seen"}
            continue
        passing = slots[pattern.name].passing
        says = _count(core, node.rule, pattern, passing) if isinstance(pattern, CountPattern) else _fact(core, pattern, passing)
        found[pattern.name] = {"holds": bool(passing), "facts": passing, "says": says}
    return found


def _count(core: Core, rule: Rule, pattern: CountPattern, holding: int) -> str:
    name = threshold_name(rule.id, rule.version, pattern)
    most = max(
        (
            group.count(threshold)
            for window in core.windows.values()
            for threshold in window.thresholds
            if threshold.name == name
            for group in window.groups.values()
        ),
        default=0,
    )
    return f"{holding} counts hold; the largest group has {most} of {pattern.at_least} within {format_duration(pattern.within)}"


def _fact(core: Core, pattern: FactPattern, passing: int) -> str:
    if passing:
        return f"{passing} facts pass its tests"
    held = list(core.memory.of_kind(pattern.kind))
    if not held:
        return f"no {pattern.kind} fact is held"
    tests = [test for test in pattern.tests if not test.refs]
    failing, item = min(
        (([test for test in tests if not constant(pattern.kind, test)(item.values)], item) for item in held),
        key=lambda found: len(found[0]),
    )
    wants = "; ".join(_unmet(pattern.kind, test, item) for test in failing)
    return f"no {pattern.kind} fact passes its tests ({len(held)} are held); nearest is {_named(item.identity)}: {wants}"


def _unmet(kind: str, test: Condition, item: FactItem) -> str:
    """What a test wants, and what there is instead."""
    field = ".".join(test.path) + ("" if test.op == "eq" else f"|{test.op}")
    wanted = " or ".join(_shown(value) for value in test.values)
    return f"{field} should be {wanted}, is {_shown(getter(kind, test.path)(item.values))}"


def _shown(value: Any) -> str:
    return "not known" if value is None else str(value)[:_LENGTH]


def _named(identity: tuple[str, ...]) -> str:
    return "/".join(part[:_LENGTH] for part in identity)


def _of_match(core: Core, node: RuleNode, match: Match) -> str:
    bound = ", ".join(map(_named, match.key)) or "(nothing bound)"
    if match in node.blocked:
        holding = [
            f"number {number} ({_pattern(pattern)})"
            for number, (slot, pattern) in enumerate(zip(node.unless, node.rule.unless, strict=True), start=1)
            if slot.holds_back(match)
        ]
        return f"{bound}: held back by `unless` {', '.join(holding)}"
    if match.since is None:
        return f"{bound}: what should be missing was seen too recently"
    due = match.since + node.rule.hold
    if due > core.now:
        return f"{bound}: has to hold for another {format_duration(due - core.now)}"
    if match.fired == node.version(match):
        return f"{bound}: it has fired on this already (activation {match.activation}); nothing that it tests or uses has changed"
    return f"{bound}: about to fire"


def _pattern(pattern: FactPattern | CountPattern) -> str:
    tests = [".".join(test.path) + " " + "/".join(map(_value, test.values)) for test in pattern.tests]
    return " ".join([pattern.kind, ", ".join(tests)]).strip()


def _value(value: Scalar | Ref) -> str:
    return f"${value.binding}.{'.'.join(value.path)}" if isinstance(value, Ref) else _shown(value)
