"""A snapshot of the sidecar as Prometheus metrics. Pure: text out of data; asks nothing and reads no clock.

Labels come from bounded sets alone: sources, kinds, rules in force, actions, verdicts and causes of closed lists.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import Metric

from engine.pipeline.measures import Buckets
from engine.pipeline.report import Report

_Values = Mapping[Any, float]
"""By labels, a tuple of strings; `Mapping` takes no other tuples for such keys."""

SOURCE_STATES = ("ok", "lost", "gap")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """How things stand at one moment."""

    version: str
    mode: str
    report: Report
    """Of the loop; the last one where it does not answer."""
    loop_answered: bool
    loop_answer_s: float
    """How long the loop took to answer: its lag."""
    last_turn_age_s: float
    intake_entries: int
    journal_ok: bool
    outbox_rows: int
    outbox_age_s: float | None
    """Of the oldest message; 0 when none waits, None when it is not known."""
    outbox_lost: Mapping[str, int]
    broker_connected: bool
    broker_connections: int
    published: int


def render(snapshot: Snapshot) -> bytes:
    """In the text format of Prometheus."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collected(list(_families(snapshot))))
    return generate_latest(registry)


class _Collected:
    """Families as the library wants them (`prometheus_client.registry.Collector`)."""

    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def _families(snapshot: Snapshot) -> Iterator[Metric]:
    yield _gauge("build_info", "Version and mode.", {(snapshot.version, snapshot.mode): 1}, "version", "mode")
    yield from _loop(snapshot)
    yield from _decided(snapshot.report)
    yield from _outbox(snapshot)


def _loop(snapshot: Snapshot) -> Iterator[Metric]:
    report, measures = snapshot.report, snapshot.report.measures
    details = report.details
    yield _gauge("loop_up", "Whether the loop answered.", {(): snapshot.loop_answered})
    yield _gauge("loop_lag_seconds", "How long the loop took to answer.", {(): snapshot.loop_answer_s})
    yield _gauge("loop_last_turn_age_seconds", "Since the loop answered last.", {(): snapshot.last_turn_age_s})
    yield _counter("loop_turns", "Rounds of the loop.", {(): measures.turns})
    yield _gauge("intake_entries", "Entries that wait for the loop.", {(): snapshot.intake_entries})
    yield _counter("facts", "Facts taken by the loop.", measures.facts, "source", "kind")
    yield _histogram("fact_lag_seconds", "From when something was so until the loop took it.", measures.lag, "source")
    kinds = {(kind,): float(count) for kind, count in details.get("kinds", {}).items()}
    yield _gauge("working_memory_facts", "Facts in working memory.", kinds, "kind")
    memory = details.get("memory", {})
    yield _gauge("working_memory_matches", "Matches of rules in working memory.", {(): memory.get("matches", 0)})
    dropped = {(one["kind"], one["bound"]): float(one["count"]) for one in memory.get("dropped", ())}
    yield _counter("working_memory_dropped", "Facts that went for want of room.", dropped, "kind", "bound")
    counters = details.get("counters", {})
    yield _counter("facts_refused", "Facts that could not be used.", {(): counters.get("bad_facts", 0)})
    yield _counter("rule_faults", "Faults of rules while they were evaluated.", {(): counters.get("rule_faults", 0)})
    states = {(name, state): float(source.status == state) for name, source in report.sources.items() for state in SOURCE_STATES}
    yield _gauge("source_state", "1 for the state that a source is in.", states, "source", "state")
    lost = {(name,): float(source.lost) for name, source in report.sources.items()}
    yield _counter("source_lost", "Entries that a source lost or could not read.", lost, "source")


def _decided(report: Report) -> Iterator[Metric]:
    measures = report.measures
    yield _counter("rule_firings", "Decisions of rules.", measures.decisions, "rule", "does")
    yield _gauge("alerts_firing", "Alerts that fire.", {(): report.firing or 0})
    yield _gauge("rules", "Rules in force.", {(): report.rules or 0})
    yield _counter("rules_reads", "Rules read, by verdict.", {(name,): n for name, n in measures.rules.items()}, "verdict")
    yield _counter("action_decisions", "What became of decided actions.", measures.verdicts, "action", "verdict", "cause")
    yield _counter("action_attempts", "Attempts that ended.", measures.outcomes, "action", "outcome")
    yield _histogram("action_duration_seconds", "How long attempts took.", measures.durations, "action")
    yield _gauge("jobs_scheduled", "Actions that are scheduled.", {(): report.details.get("jobs_scheduled", 0)})
    breakers = {(name,): 1.0 for name in report.breakers_open}
    yield _gauge("breaker_open", "Actions that are stopped because they kept failing.", breakers, "action")
    yield _gauge("frozen", "Whether an operator has stopped all actions.", {(): report.frozen})


def _outbox(snapshot: Snapshot) -> Iterator[Metric]:
    yield _gauge("journal_writable", "Whether what is decided is being written.", {(): snapshot.journal_ok})
    yield _gauge("outbox_messages", "Messages that wait for the broker.", {(): snapshot.outbox_rows})
    if snapshot.outbox_age_s is not None:
        yield _gauge("outbox_oldest_age_seconds", "Age of the oldest waiting message.", {(): snapshot.outbox_age_s})
    lost = {(kind,): float(count) for kind, count in snapshot.outbox_lost.items()}
    yield _counter("outbox_lost", "Messages lost for want of room, or refused by the broker.", lost, "kind")
    yield _gauge("broker_connected", "Whether the broker is connected.", {(): snapshot.broker_connected})
    yield _counter("broker_connections", "Connections to the broker.", {(): snapshot.broker_connections})
    yield _counter("published", "Messages that the broker took.", {(): snapshot.published})


def _gauge(name: str, text: str, values: _Values, *labels: str) -> Metric:
    family = GaugeMetricFamily(f"dockwarden_{name}", text, labels=labels)
    for at, value in sorted(values.items()):
        family.add_metric(at, float(value))
    return family


def _counter(name: str, text: str, values: _Values, *labels: str) -> Metric:
    family = CounterMetricFamily(f"dockwarden_{name}", text, labels=labels)
    for at, value in sorted(values.items()):
        family.add_metric(at, float(value))
    return family


def _histogram(name: str, text: str, values: Mapping[str, Buckets], label: str) -> Metric:
    """A histogram with one label."""
    family = HistogramMetricFamily(f"dockwarden_{name}", text, labels=[label])
    for at, buckets in sorted(values.items()):
        total, found = 0, []
        for bound, count in zip([*(str(bound) for bound in buckets.bounds), "+Inf"], buckets.counts, strict=True):
            total += count
            found.append((bound, float(total)))
        family.add_metric([at], found, sum_value=buckets.sum)
    return family
