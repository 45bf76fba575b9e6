"""Guardrails: may this decision be acted on? Pure: policy and facts in, a verdict with its reason out.

Where a verdict needs the world as it is at the moment of acting (is the container running now?), the action itself looks again.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from engine.action_catalog import ActionSpec
from engine.facts.docker import Container

Mode = Literal["observe", "act"]

LIVING = frozenset({"running", "paused", "restarting"})
"""States of a container that has processes."""


class ActionLimits(BaseModel):
    """How often an action may be taken, whatever rules ask for."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    mode: Mode | None = Field(default=None, description="observe or act for this action alone; null: the general mode.")
    concurrency: int = Field(default=2, ge=1, le=64, description="Attempts under way at the same time.")
    per_hour: int = Field(default=3600, ge=0, description="Attempts in any hour; 0: none at all.")
    breaker_failures: int = Field(
        default=10, ge=1, description="So many failures in a row, on different targets, stop it for a while."
    )
    breaker_pause_s: float = Field(default=300.0, gt=0, description="Seconds until one attempt is let through again.")
    timeout_s: float = Field(default=120.0, gt=0, description="Seconds after which an attempt is given up.")


class Policy(BaseModel):
    """What may be done to this host. A rule asks; only what the policy allows happens."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    mode: Mode = Field(default="observe", description="observe: look, conclude and report; act: repair too.")
    actions: dict[str, ActionLimits] = Field(default_factory=dict, description="Limits by action.")
    volumes: bool = Field(default=False, description="Whether anonymous volumes may be removed with a container.")
    touch_running: tuple[str, ...] = Field(
        default=("restart-unhealthy",),
        description="Rules whose actions may touch running containers; the shipped one only where a label asks.",
    )

    def limits(self, action: str) -> ActionLimits:
        """Limits of one action."""
        return self.actions.get(action, _DEFAULT_LIMITS)

    def mode_of(self, action: str) -> Mode:
        """Mode of one action."""
        return self.limits(action).mode or self.mode


_DEFAULT_LIMITS = ActionLimits()


Cause = Literal["", "parameter_unknown", "volumes", "forbidden", "protected", "running", "observe", "over"]
"""Of a verdict that is not to act. `over`: what the decision stood on has passed."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of a decision. `wait`: not now, but it stays wanted."""

    kind: Literal["act", "observed", "refused", "wait"]
    reason: str = ""
    cause: Cause = field(default="", compare=False)
    """Why, from a closed list: a label of metrics."""


ACT = Verdict("act")


def judge(
    spec: ActionSpec,
    params: Mapping[str, Any],
    *,
    rule: str,
    policy: Policy,
    container: Container | None,
    frozen: bool,
    told: bool = True,
) -> Verdict:
    """Whether an action may be taken.

    Args:
        spec: the action, from the catalogue.
        params: what the rule asked for.
        rule: id of the rule that asks.
        policy: what may be done to this host.
        container: the container it concerns, as working memory knows it; None when it knows none.
        frozen: all actions are stopped.
        told: the facts that it stands on were told since the start; False: they are what an earlier process left.
    """
    if not told and spec.changes and policy.mode_of(spec.name) == "act":
        return Verdict("wait", "what it stands on is from before the start, and was not told anew yet")
    refusal = _refusal(spec, params, rule, policy, container)
    if refusal is not None:
        return refusal
    if not spec.changes:
        return ACT
    if policy.mode_of(spec.name) == "observe":
        return Verdict("observed", "mode observe: it is said, not done", "observe")
    if frozen:
        return Verdict("wait", "frozen: all actions are stopped")
    return ACT


def may_touch_running(spec: ActionSpec, rule: str, policy: Policy) -> bool:
    """Whether this rule may have running containers touched: the action is meant for them, and the policy names the rule."""
    return spec.touches_running and rule in policy.touch_running


def _refusal(
    spec: ActionSpec, params: Mapping[str, Any], rule: str, policy: Policy, container: Container | None
) -> Verdict | None:
    missing = [name for name, param in spec.params.items() if param.required and params.get(name) in (None, "")]
    if missing:
        return Verdict("refused", f"{', '.join(missing)} not known", "parameter_unknown")
    if params.get("volumes") and not policy.volumes:
        return Verdict("refused", "volumes are not removed unless the policy says so (policy.volumes)", "volumes")
    if policy.limits(spec.name).per_hour == 0:
        return Verdict("refused", f"the policy allows no {spec.name} at all", "forbidden")
    if container is None or not spec.changes or spec.name == "retry_now":
        return None
    if container.protected:
        return Verdict("refused", f"container {container.name or container.id[:12]} is protected", "protected")
    if container.status in LIVING and not may_touch_running(spec, rule, policy):
        return Verdict("refused", f"container {container.name or container.id[:12]} is {container.status}", "running")
    return None
