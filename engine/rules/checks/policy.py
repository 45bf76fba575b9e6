"""Would the guardrails refuse an action each time, given what the rule's patterns require?

No setting allows what is judged here: protected containers, running ones to be removed, shared mounts, mounts of the living.
"""

from engine.action_catalog import ACTIONS
from engine.rules import catalogue
from engine.rules.draft import DraftEffect, DraftRule, DraftValue
from engine.rules.findings import Report
from engine.rules.kinds import Kinds
from engine.rules.model import FieldPath, Ref
from engine.rules.value_sets import Choices, choices, equals

LIVING = frozenset({"running", "paused", "restarting"})
"""States in which a container's processes are there."""


def check_policy(rule: DraftRule, kinds: Kinds, report: Report) -> None:
    """Every action of a rule."""
    for effect in rule.then:
        spec = ACTIONS.get(effect.name or "") if effect.form == "do" else None
        if spec is None or not spec.changes:
            continue
        for value in effect.values:
            if isinstance(value.value, Ref):
                reason = _refusal(rule, effect, value, value.value, kinds)
                if reason:
                    report.add(catalogue.REFUSED_ACTION, value.span, f"{spec.name} is always refused here: {reason}")
                    break


def _refusal(rule: DraftRule, effect: DraftEffect, value: DraftValue, ref: Ref, kinds: Kinds) -> str:
    spec = ACTIONS[effect.name or ""]
    if value.name == spec.container:
        for same in equals(rule, ref):
            pattern = rule.pattern(same.binding)
            if pattern is None or pattern.form != "fact" or pattern.kind != "container" or same.path != ("id",):
                continue
            if _only(rule, kinds, same, ("protected",), frozenset({True})):
                return f"`{same.binding}` is a protected container"
            if not spec.touches_running and _only(rule, kinds, same, ("status",), LIVING):
                return f"`{same.binding}` is a running container"
    pattern = rule.pattern(ref.binding)
    if spec.name == "unmount" and pattern is not None and pattern.kind == "mount_leak":
        if _only(rule, kinds, ref, ("shared",), frozenset({True})):
            return f"`{ref.binding}` is a shared mount, which would go on the host too"
        if _only(rule, kinds, ref, ("owner_status",), LIVING):
            return f"`{ref.binding}` belongs to a living container"
    return ""


def _only(rule: DraftRule, kinds: Kinds, ref: Ref, path: FieldPath, refused: frozenset[str] | frozenset[bool]) -> bool:
    """Whether the rule requires one of these values of another field of the same fact."""
    known: Choices = choices(rule, kinds, Ref(ref.binding, path))
    return bool(known) and known is not None and known <= refused
