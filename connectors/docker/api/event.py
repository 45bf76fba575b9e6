"""One line of Docker's event stream, and the fact that it becomes. Pure.

Only `Type`, `Action` and `Actor` are used: `status`, `id` and `from` are missing on some kinds of event, and gone from API 1.52.

Labels are flattened into `Actor.Attributes` and override the event's own `exitCode` and `signal` (daemon/events.go,
copyAttributes): a container labelled `exitCode=0` that exited with 7 says 0. `name` and `image` are written last and cannot be
forged. So a value is believed only when the container's labels are known and hold no such key.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from connectors.docker.api.readings import ID, parent_of
from connectors.sources.text import NAME_CHARS, clean, clean_labels
from engine.facts.docker import ContainerEvent
from engine.facts.timestamps import from_micros

_NUMBER = re.compile(r"-?[0-9]{1,10}\Z")
_LAST_NANO = 1 << 62
"""The year 2116."""
SHORT_ID = 12
"""Digits by which people name a container."""

_OWN: Mapping[str, frozenset[str]] = {
    "die": frozenset({"exitCode", "execDuration"}),
    "kill": frozenset({"signal"}),
    "rename": frozenset({"oldName"}),
    "resize": frozenset({"height", "width"}),
    "exec_create": frozenset({"execID"}),
    "exec_start": frozenset({"execID"}),
    "exec_detach": frozenset({"execID"}),
    "exec_die": frozenset({"execID", "exitCode"}),
}
"""Attributes that an event brings itself, by action; all others but `name` and `image` are labels."""

_NAMED = frozenset({"name", "image"})
DESTROYED = frozenset({"destroy", "remove"})
"""The container is gone. Docker says destroy, Podman says remove."""


class UnreadableEventError(ValueError):
    """A line of the stream that is no event; the message says why."""


@dataclass(frozen=True, slots=True)
class DockerEvent:
    """An event of any type, as read."""

    nano: int
    """Nanoseconds since 1970; not monotonic in the stream: about 1 % of events stand up to 4.2 ms too late."""
    type: str
    action: str
    detail: str | None
    id: str
    attributes: dict[str, str]

    @property
    def at(self) -> datetime:
        """When it happened, UTC, to the microsecond."""
        return from_micros(self.nano // 1000)

    @property
    def key(self) -> tuple[int, str, str, str, str]:
        """The same for the same event, whenever it is sent again."""
        return (self.nano, self.type, f"{self.action}: {self.detail}", self.id, self.attributes.get("execID", ""))

    @property
    def about_container(self) -> bool:
        """True when it is about a container whose id is one."""
        return self.type == "container" and ID.match(self.id) is not None

    def labels(self) -> dict[str, str]:
        """The container's labels as far as the event says: without what the event may have brought itself."""
        own = _OWN.get(self.action, frozenset())
        return clean_labels({k: v for k, v in self.attributes.items() if k not in _NAMED and k not in own})

    def could_be_forged(self, attribute: str, labels: Mapping[str, str] | None) -> bool:
        """True unless the container's labels are known and leave this attribute alone."""
        return labels is None or attribute in labels

    def number(self, attribute: str) -> int | None:
        """An attribute as a number; None when it is none."""
        value = self.attributes.get(attribute, "")
        return int(value) if _NUMBER.match(value) else None


def read_event(line: bytes) -> DockerEvent:
    """Read one line.

    Raises:
        UnreadableEventError: it is no JSON object, or no event.
    """
    try:
        data = json.loads(line.decode("utf-8", "replace"))
    except (ValueError, RecursionError) as error:
        raise UnreadableEventError(f"no JSON: {type(error).__name__}") from error
    actor = data.get("Actor") if isinstance(data, dict) else None
    if not isinstance(actor, dict) or not isinstance(data.get("Type"), str) or not isinstance(data.get("Action"), str):
        raise UnreadableEventError("no event: Type, Action or Actor is missing")
    attributes = actor.get("Attributes")
    action, _, detail = data["Action"].partition(": ")
    return DockerEvent(
        nano=_nano(data.get("timeNano"), data.get("time")),
        type=clean(data["Type"], NAME_CHARS),
        action=clean(action, NAME_CHARS),
        detail=clean(detail) or None,
        id=clean(actor.get("ID")),
        # Not cleaned yet: every event of a container brings all its labels, and few of them are looked at.
        attributes={k: v for k, v in attributes.items() if isinstance(v, str)} if isinstance(attributes, dict) else {},
    )


def _nano(nano: object, seconds: object) -> int:
    """`timeNano`, or `time` in old versions."""
    for value, scale in ((nano, 1), (seconds, 1_000_000_000)):
        if isinstance(value, int) and not isinstance(value, bool) and 0 < value * scale < _LAST_NANO:
            return value * scale
    raise UnreadableEventError("no event: timeNano is missing or out of range")


def fact_of(
    event: DockerEvent, *, command: str | None, labels: Mapping[str, str] | None, exit_code: int | None = None
) -> ContainerEvent:
    """The fact for an event about a container.

    Args:
        event: about a container.
        command: the container's command where it is known; no event carries it.
        labels: the container's labels where they are known.
        exit_code: as inspect gives it, for when the event's own could be forged.
    """
    known = dict(labels) if labels is not None else event.labels()
    name = clean(event.attributes.get("name"), NAME_CHARS)
    if event.action in ("die", "exec_die") and not event.could_be_forged("exitCode", labels):
        exit_code = event.number("exitCode")
    signal = None if event.action != "kill" or event.could_be_forged("signal", labels) else event.number("signal")
    return ContainerEvent(
        fact_id=fact_id(event),
        at=event.at,
        source="docker",
        action=event.action,
        detail=event.detail,
        id=event.id,
        name=name,
        image=clean(event.attributes.get("image")),
        command=command,
        exit_code=exit_code,
        signal=signal,
        labels=known,
        parent=parent_of(known),
    )


def fact_id(event: DockerEvent) -> str:
    """`docker-<timeNano>-<action>-<id>`, with the exec's id where there is one: the same after a restart."""
    exec_id = clean(event.attributes.get("execID"), NAME_CHARS)[:SHORT_ID]
    return f"docker-{event.nano}-{event.action}-{event.id[:SHORT_ID]}" + (f"-{exec_id}" if exec_id else "")
