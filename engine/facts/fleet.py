"""Facts about a fleet of hosts, of which the fleet's engine alone has any: what each host reports, and what that adds up to.

The host that a fact is about stands in the envelope (`host`). Shares are from 0 to 1, so that rules compare them with numbers.
"""

from typing import ClassVar, Literal

from pydantic import Field

from engine.facts.base import EventFact, StateFact, UtcTime
from engine.facts.outcomes import ErrorKind, Severity

Condition = Literal["online", "stale", "offline"]


class HostAlert(StateFact):
    """An alert that fires on a host."""

    KIND: ClassVar[str] = "host_alert"
    KEY: ClassVar[tuple[str, ...] | None] = ("host", "rule", "key")

    rule: str = Field(description="Rule that raised it there.")
    key: str = Field(default="", description="What it is about.")
    severity: Severity = "warning"
    title: str = Field(default="", description="Title of the rule.")
    starts_at: UtcTime | None = Field(default=None, description="Since when it fires, by that host's clock.")
    acknowledged: bool = Field(default=False, description="Somebody has taken it on.")
    rules_version: str = Field(default="", description="Rules by which it fires.")
    labels: dict[str, str] = Field(default_factory=dict, description="Of the alert, and of the host (fleet.labels).")


class HostStatus(StateFact):
    """How a host stands, by its status and by how long the fleet's engine has heard nothing of it."""

    KIND: ClassVar[str] = "host_status"
    KEY: ClassVar[tuple[str, ...] | None] = ("host",)

    condition: Condition = Field(
        default="online", description="offline: by its own word or its last will; stale: silent for two minutes."
    )
    version: str = Field(default="", description="Of dockwarden there.")
    mode: Literal["observe", "act"] | None = None
    frozen: bool = Field(default=False, description="All actions are stopped there.")
    rules_version: str = ""
    rules_since: UtcTime | None = Field(
        default=None, description="When it was first seen with these rules; null: it had them when it was first seen."
    )
    since: UtcTime | None = Field(default=None, description="Start of the process there.")
    sources_lost: int = Field(default=0, description="Sources of facts that it cannot read.")
    labels: dict[str, str] = Field(default_factory=dict, description="Of the host (fleet.labels).")


class HostAction(EventFact):
    """The outcome of one attempt of an action on a host."""

    KIND: ClassVar[str] = "host_action"

    action: str = Field(description="remove_container, unmount, …")
    target: str = ""
    ok: bool
    error: str | None = None
    error_kind: ErrorKind | None = None
    attempt: int = Field(default=1, ge=1)
    exhausted: bool = Field(default=False, description="It failed and will not be tried again.")
    rule: str | None = Field(default=None, description="Rule that asked for it.")


class Fleet(StateFact):
    """All hosts together."""

    KIND: ClassVar[str] = "fleet"
    KEY: ClassVar[tuple[str, ...] | None] = ()

    hosts: int = Field(default=0, description="Hosts that have a status.")
    online: int = 0
    stale: int = 0
    offline: int = 0
    acting: int = Field(default=0, description="Hosts in mode act.")
    silent_share: float = Field(default=0.0, description="Share of hosts that are stale or offline.")


class FleetAlert(StateFact):
    """Alerts of one rule over all hosts."""

    KIND: ClassVar[str] = "fleet_alert"
    KEY: ClassVar[tuple[str, ...] | None] = ("rule",)

    rule: str
    title: str = Field(default="", description="Title of the rule.")
    severity: Severity = Field(default="warning", description="The worst.")
    hosts: int = Field(default=0, description="Hosts on which it fires; renewed when it changes by a tenth, and once a minute.")
    share: float = Field(default=0.0, description="Share of all hosts.")
    fleet_size: int = Field(default=0, description="All hosts.")
    some: str = Field(default="", description="Names of some of them.")


class FleetRollout(StateFact):
    """Alerts of one rule that began within ten minutes after their hosts got other rules."""

    KIND: ClassVar[str] = "fleet_rollout"
    KEY: ClassVar[tuple[str, ...] | None] = ("rules_version", "rule")

    rules_version: str = Field(description="The rules that those hosts got.")
    rule: str
    hosts: int = Field(default=0, description="Hosts on which the rule fires since.")
    share: float = Field(default=0.0, description="Share of the hosts that got these rules.")
    got: int = Field(default=0, description="Hosts that got these rules while the fleet's engine watched.")
    some: str = Field(default="", description="Names of some of those on which it fires.")


class FleetLabel(StateFact):
    """How far the hosts on which a rule fires have a label in common: a disk model, a registry."""

    KIND: ClassVar[str] = "fleet_label"
    KEY: ClassVar[tuple[str, ...] | None] = ("rule", "label", "value")

    rule: str
    label: str = Field(description="Name of the label; `registry` is read off the images in an alert's evidence.")
    value: str
    hosts: int = Field(default=0, description="Hosts with this value on which the rule fires.")
    share: float = Field(default=0.0, description="Share of the hosts on which the rule fires.")
    lift: float | None = Field(
        default=None,
        description="That share over the share of all hosts that have the value: 1 is chance; null where the label is no host's.",
    )
    some: str = Field(default="", description="Names of some of them.")


class FleetActing(StateFact):
    """Hosts that act by the same rule within ten minutes."""

    KIND: ClassVar[str] = "fleet_acting"
    KEY: ClassVar[tuple[str, ...] | None] = ("rule", "action")

    rule: str
    action: str
    hosts: int = Field(default=0, description="Hosts that made an attempt within the last ten minutes.")
    share: float = Field(default=0.0, description="Share of the hosts that are online.")
    some: str = Field(default="", description="Names of some of them.")


class FleetEngine(StateFact):
    """One of the engines of the fleet."""

    KIND: ClassVar[str] = "fleet_engine"
    KEY: ClassVar[tuple[str, ...] | None] = ("engine",)

    engine: str
    condition: Condition = "online"


FLEET_KINDS = (HostAlert, HostStatus, HostAction, Fleet, FleetAlert, FleetRollout, FleetLabel, FleetActing, FleetEngine)
"""Every kind that the fleet's engine makes."""
