"""How the loop stands at the end of a turn, as plain data for whoever is outside of it. Sans-I/O."""

import heapq
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from engine.facts.host import Source
from engine.facts.timestamps import SECOND, Micros, from_micros, rfc3339
from engine.inference.alerts import AlertKey, AlertState
from engine.inference.core import Core
from engine.pipeline.measures import Measures
from engine.pipeline.schedule import Schedule

REPORT_EVERY: Micros = 10 * SECOND
"""Between two facts about what went for want of room: a storm would give one with every turn."""

LISTED = 50
"""Alerts and jobs listed at most; the counts are of all."""


@dataclass(frozen=True, slots=True)
class Report:
    """What a status message needs. `details` is the rest, for `dockwarden status`."""

    rules_version: str
    rules: int | None = None
    frozen: bool = False
    firing: int | None = None
    sources: dict[str, Source] = field(default_factory=dict)
    breakers_open: list[str] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)
    measures: Measures = field(default_factory=Measures)
    """The loop's own, which goes on counting."""


def sources_of(core: Core) -> dict[str, Source]:
    """Sources by name, as working memory has them."""
    return {item.fact.name: item.fact for item in core.memory if isinstance(item.fact, Source)}


class MemoryLosses:
    """What went from working memory for want of room, as `source` facts: one a kind, at most every ten seconds."""

    def __init__(self) -> None:
        self._before: Counter[str] = Counter()
        """What went from the cores before this one."""
        self._reported: dict[str, tuple[int, Micros]] = {}

    def carry_over(self, core: Core) -> None:
        """Another core takes the place of this one."""
        self._before += _dropped(core)

    def facts(self, core: Core, now: Micros) -> list[Source]:
        """What there is to report at this moment."""
        if not core.memory.dropped:
            return []
        found: list[Source] = []
        for kind, count in (self._before + _dropped(core)).items():
            known, at = self._reported.get(kind, (0, now - REPORT_EVERY))
            if count > known and now - at >= REPORT_EVERY:
                self._reported[kind] = (count, now)
                error = "no room in working memory: the oldest went"
                name = f"memory:{kind}"
                found.append(Source.report(name, "gap", at=from_micros(now), emitted_by="dockwarden", lost=count, error=error))
        return found


def _dropped(core: Core) -> Counter[str]:
    dropped: Counter[str] = Counter()
    for (kind, _), count in core.memory.dropped.items():
        dropped[kind] += count
    return dropped


def describe_core(core: Core, acknowledged: dict[AlertKey, str]) -> dict[str, Any]:
    """Sizes of working memory, and the oldest alerts that fire."""
    firing = [state for state in core.alerts.states.values() if state.firing]
    oldest = heapq.nsmallest(LISTED, firing, key=lambda state: int(state.details["starts_at"]))
    return {
        "memory": core.status(),
        "kinds": _count(item.identity[0] for item in core.memory),
        "alerts": [_alert(state, acknowledged.get((state.rule, state.key))) for state in oldest],
    }


def describe_schedule(schedule: Schedule) -> dict[str, Any]:
    """The jobs that are due next."""
    jobs = heapq.nsmallest(LISTED, schedule.jobs.values(), key=lambda job: job.due)
    return {"jobs": [job.describe() for job in jobs], "jobs_scheduled": len(schedule.jobs)}


def _alert(state: AlertState, acknowledged_by: str | None) -> dict[str, Any]:
    return {
        "rule": state.rule,
        "key": state.key,
        "severity": state.details["severity"],
        "text": state.details["text"],
        "since": rfc3339(state.details["starts_at"]),
        "count": state.details["count"],
        "acknowledged_by": acknowledged_by,
    }


def _count(names: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(names).items()))
