"""Guardrails: which decision may be acted on, and the reason for each that may not."""

from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from engine.action_catalog import ACTIONS
from engine.facts.docker import Container
from engine.guardrails import LIVING, ActionLimits, Policy, Verdict, judge

CID = "a" * 64
ACTING = Policy(mode="act")


def verdict(
    action: str,
    params: dict[str, Any] | None = None,
    *,
    policy: Policy = ACTING,
    status: str | None = "dead",
    rule: str = "some-rule",
    frozen: bool = False,
    **container: Any,
) -> Verdict:
    """The verdict on an action, about a container of that status."""
    body = {"id": CID, "at": datetime(2027, 1, 1, tzinfo=UTC), "status": status, **container}
    known = None if status is None else Container.model_validate(body)
    asked = {"container": CID} if params is None else params
    return judge(ACTIONS[action], asked, rule=rule, policy=policy, container=known, frozen=frozen)


class TestMode:
    def test_observe_is_the_default_and_changes_nothing(self) -> None:
        """Without a word from the operator, nothing is repaired; it is said."""
        assert verdict("remove_container", policy=Policy()).kind == "observed"

    def test_observe_sends_no_signal(self) -> None:
        """Asking dockerd for its stacks is a signal to a process of root's, and a file in its folder: no mere look."""
        assert verdict("collect_stacks", {}, policy=Policy(), status=None).kind == "observed"

    def test_act_acts(self) -> None:
        """What is allowed is done."""
        assert verdict("remove_container").kind == "act"

    def test_what_only_looks_is_done_in_mode_observe_too(self) -> None:
        """The cause is found whatever the mode; a freeze does not stop looking either."""
        assert verdict("inspect_mounts", policy=Policy(), frozen=True).kind == "act"

    @pytest.mark.parametrize(("general", "own", "kind"), [("act", "observe", "observed"), ("observe", "act", "act")])
    def test_the_mode_of_an_action_is_over_the_general_one(self, general: Any, own: Any, kind: str) -> None:
        """One action may be tried before the others, or kept back."""
        policy = Policy(mode=general, actions={"remove_container": ActionLimits(mode=own)})
        assert verdict("remove_container", policy=policy).kind == kind

    def test_a_freeze_puts_off_and_does_not_refuse(self) -> None:
        """It stays wanted."""
        assert verdict("remove_container", frozen=True).kind == "wait"


class TestRefusals:
    @pytest.mark.parametrize("status", sorted(LIVING))
    def test_a_living_container_is_never_touched_by_itself(self, status: str) -> None:
        """Running, paused and restarting ones have processes."""
        found = verdict("remove_container", status=status, name="web")
        assert (found.kind, found.reason) == ("refused", f"container web is {status}")

    def test_a_living_one_needs_both_the_action_and_the_policy_to_name_it(self) -> None:
        """An action made for running containers, by a rule that the policy names: and by no other."""
        policy = Policy(mode="act", touch_running=("restart-unhealthy",))
        assert verdict("restart_container", policy=policy, status="running", rule="restart-unhealthy").kind == "act"
        assert verdict("restart_container", policy=policy, status="running", rule="other").kind == "refused"
        assert verdict("remove_container", policy=policy, status="running", rule="restart-unhealthy").kind == "refused"

    @pytest.mark.parametrize("action", ["remove_container", "restart_container"])
    def test_a_protected_one_is_refused_whatever_its_state_and_the_rule(self, action: str) -> None:
        """Protection is the operator's last word."""
        found = verdict(action, protected=True, rule="restart-unhealthy")
        assert (found.kind, found.reason) == ("refused", f"container {CID[:12]} is protected")

    def test_looking_and_hurrying_are_no_touching(self) -> None:
        """Mounts of a protected container may be looked for, and its scheduled jobs hurried."""
        assert verdict("inspect_mounts", protected=True, status="running").kind == "act"
        assert verdict("retry_now", protected=True).kind == "act"

    @pytest.mark.parametrize("volumes", [True, "true", "false", 1])
    def test_volumes_are_not_removed_unless_the_policy_says_so(self, volumes: Any) -> None:
        """Anything that could be read as yes is refused."""
        params = {"container": CID, "volumes": volumes}
        assert verdict("remove_container", params).kind == "refused"
        assert verdict("remove_container", params, policy=Policy(mode="act", volumes=True)).kind == "act"

    @pytest.mark.parametrize("params", [{}, {"container": None}, {"container": ""}])
    def test_what_is_not_known_is_not_done(self, params: dict[str, Any]) -> None:
        """A rule whose reference was empty asks for nothing that could be done."""
        assert verdict("remove_container", params).reason == "container not known"

    def test_no_attempts_an_hour_means_none(self) -> None:
        """A cap of nothing forbids the action."""
        policy = Policy(mode="act", actions={"remove_container": ActionLimits(per_hour=0)})
        assert verdict("remove_container", policy=policy).kind == "refused"

    def test_a_container_that_nobody_knows_is_the_actions_own_business(self) -> None:
        """Working memory may be behind: the action looks at the container itself before it acts."""
        assert verdict("remove_container", status=None).kind == "act"

    def test_a_refusal_is_said_in_mode_observe_too(self) -> None:
        """What would be refused is not shown as what would be done."""
        assert verdict("remove_container", policy=Policy(), protected=True).kind == "refused"


@pytest.mark.parametrize(
    "limits", [{"concurrency": 0}, {"per_hour": -1}, {"breaker_failures": 0}, {"timeout_s": 0}, {"mode": "maybe"}, {"x": 1}]
)
def test_limits_that_mean_nothing_are_refused(limits: dict[str, Any]) -> None:
    """A misspelt or senseless limit would limit nothing."""
    with pytest.raises(ValidationError):
        ActionLimits.model_validate(limits)
