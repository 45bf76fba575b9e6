"""What the loop counts for metrics by labels of bounded sets: sources, kinds, rules, actions, causes. Sans-I/O."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from engine.facts import Fact, Retraction
from engine.facts.timestamps import SECOND, Micros

LAG_BOUNDS_S = (0.01, 0.1, 0.5, 1.0, 5.0, 30.0, 300.0)
"""Upper bounds of the lag's buckets, in seconds: from an event's ordinary way in to logs read after a restart."""

DURATION_BOUNDS_S = (0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 120.0)
"""Upper bounds of the attempts' durations, in seconds; the default time-out is 120."""


class Buckets:
    """A histogram: counts by upper bound, and the sum. The last bucket has no bound."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def add(self, value: float) -> None:
        """Count a value; one below zero, of a clock that differs, is none at all."""
        value = max(0.0, value)
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value


@dataclass(slots=True)
class Measures:
    """Since the start of the process."""

    facts: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By source and kind; a retraction counts for the kind that it retracts."""
    lag: dict[str, Buckets] = field(default_factory=dict)
    """By source, seconds from when something was so until the loop took it."""
    decisions: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By rule and by what it does: the firings of rules."""
    verdicts: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    """By action, verdict and cause (`engine.guardrails.Cause`)."""
    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Attempts by action and by `ok` or the kind of error."""
    durations: dict[str, Buckets] = field(default_factory=dict)
    """By action, seconds that attempts took."""
    rules: Counter[str] = field(default_factory=Counter)
    """Rules that were read, by verdict: in force, refused, unreachable."""
    turns: int = 0

    def take_in(self, source: str, facts: Iterable[Fact | Retraction], now: Micros) -> None:
        """Facts of a source that the loop takes at this moment."""
        for fact in facts:
            self.facts[source, fact.fact_kind if isinstance(fact, Fact) else fact.retract] += 1
            if isinstance(fact, Fact):
                lag = self.lag.get(source)
                if lag is None:
                    lag = self.lag[source] = Buckets(LAG_BOUNDS_S)
                lag.add((now - fact.at_micros) / SECOND)

    def attempt_ended(self, action: str, outcome: str, duration_s: float) -> None:
        """An attempt is over."""
        self.outcomes[action, outcome] += 1
        self.durations.setdefault(action, Buckets(DURATION_BOUNDS_S)).add(duration_s)

    def retain_rules(self, names: Iterable[str]) -> None:
        """Other rules are in force: what is counted by rules that are gone goes, so that the set of labels stays bounded."""
        keep = set(names)
        for key in [key for key in self.decisions if key[0] not in keep]:
            del self.decisions[key]
