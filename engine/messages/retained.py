"""What the broker keeps of our alerts against what we know: which are to be published anew, resolved or cleared. Sans-I/O.

A broker may come back with an older store, the journal may have been lost, the host renamed. Read after each connection, so that
whoever subscribes late sees what is so. Knows neither broker nor core: both hand in data.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from pydantic import ValidationError

from engine.facts.timestamps import Micros, to_micros
from engine.messages.models import AlertData
from engine.messages.topics import present_topic
from engine.ports.broker import KnownAlerts

MAX_ORPHANS: Final = 1000
"""Unknown alerts dealt with at a time; each carries its message. The next reading finds more."""


@dataclass(slots=True)
class Difference:
    """What is to be done. Topics in the order in which they were found."""

    republish: list[str] = field(default_factory=list)
    """Known ones that the broker lacks, or of which it has an older message."""
    resolve: dict[str, AlertData] = field(default_factory=dict)
    """Firing at the broker, unknown to us."""
    clear: list[str] = field(default_factory=list)
    """To be removed without a word: unreadable ones, resolved ones whose time is over, old spellings of a topic."""

    def __bool__(self) -> bool:
        return bool(self.republish or self.resolve or self.clear)


class Comparison:
    """Takes retained messages one by one."""

    def __init__(self, known: KnownAlerts, *, expiry: Micros, everything: bool = False) -> None:
        """Begin.

        Args:
            known: alerts that fire, from before the reading.
            expiry: how long the message of a resolved alert stays.
            everything: publish all of them anew, whatever the broker has.
        """
        self._known = known
        self._expiry = expiry
        self._everything = everything
        self._right: set[str] = set()
        self._resolve: dict[str, AlertData] = {}
        self._clear: list[str] = []

    def add(self, topic: str, payload: bytes) -> None:
        """A message that the broker keeps. An empty one is none: it was just cleared."""
        if not payload:
            return
        known = self._known.firing.get(topic)
        data = _data(payload)
        seq, status, updated_at = _number(data.get("seq")), data.get("status"), _micros(data.get("updated_at"))
        if known is not None:
            if status == "firing" and seq >= known.seq and updated_at >= known.updated_at:
                self._right.add(topic)
        elif seq > self._known.last_seq:
            pass  # published meanwhile
        elif topic != present_topic(topic):
            self._clear.append(topic)
        elif status == "firing":
            self._orphan(topic, data)
        elif status != "resolved" or updated_at + self._expiry < self._known.now:
            self._clear.append(topic)

    def difference(self, *, complete: bool, settled: bool) -> Difference:
        """What follows.

        Args:
            complete: all that the broker keeps was added; else only missing ones are known of.
            settled: what is not known is not so; False for a while after a start, when it may still be found out.
        """
        republish = [topic for topic in self._known.firing if self._everything or topic not in self._right]
        if not complete or not settled:
            return Difference(republish=republish)
        return Difference(republish, dict(self._resolve), self._clear)

    def _orphan(self, topic: str, data: Mapping[str, Any]) -> None:
        if len(self._resolve) >= MAX_ORPHANS:
            return
        try:
            self._resolve[topic] = AlertData.model_validate(data)
        except ValidationError:
            self._clear.append(topic)


def _data(payload: bytes) -> Mapping[str, Any]:
    try:
        found = json.loads(payload)["data"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _number(value: object) -> int:
    return value if isinstance(value, int) else 0


def _micros(value: object) -> Micros:
    try:
        return to_micros(datetime.fromisoformat(str(value)))
    except (ValueError, OverflowError, TypeError):  # no time, one that has no microseconds, one without a zone
        return 0
