"""What two sets of rules decide differently on the same facts: added, removed, moved, changed. In bounded memory.

Both are asked fact by fact, so what they decide alike comes from the same fact and is dropped at once. What one of them says
alone waits for the other to decide it later: then it was moved. It waits for `WITHIN` of event time and among at most `PENDING`
others; after that it is added or removed for good. So memory depends on what differs within an hour, not on the recording.
"""

from collections import Counter, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from engine.facts import FactKinds
from engine.facts.timestamps import SECOND, Micros
from engine.inference.change_log import encode
from engine.inference.core import Core
from engine.inference.decision import ActionDecision, AlertDecision, Decision
from engine.replay.player import step
from engine.replay.recording import Faults, read_facts
from engine.rules.model import RuleSet

WITHIN: Micros = 3600 * SECOND
"""The same alert an hour later is another problem, not the same one noticed late."""

PENDING = 10_000
"""Differences held at most: about 20 MB. Beyond, the oldest are given without waiting for their counterpart."""

Side = Literal["old", "new"]
What = Literal["added", "removed", "moved", "changed"]


@dataclass(slots=True)
class Difference:
    """One alert or action that is not the same. `old` and `new` are what each set of rules decided, None for nothing."""

    old: Decision | None
    new: Decision | None

    @property
    def what(self) -> What:
        """How it differs."""
        if self.old is None:
            return "added"
        if self.new is None:
            return "removed"
        return "changed" if self.old.at == self.new.at else "moved"

    @property
    def shown(self) -> Decision:
        """The decision to show: the one by the new rules where there is one."""
        shown = self.new or self.old
        assert shown is not None  # noqa: S101  one of them always is
        return shown

    def to_json_dict(self) -> dict[str, Any]:
        """One line of JSON output: the decision by the new rules, or the one that is removed, and what it was before."""
        line: dict[str, Any] = {"change": self.what} | self.shown.to_json_dict()
        if self.old is not None and self.new is not None:
            before = self.old.to_json_dict()
            line["before"] = {name: before[name] for name in ("at", "severity", "text") if name in before}
        return line


Identity = tuple[str, ...]


def identity(decision: Decision) -> Identity:
    """What makes two decisions the same one: rule and key with the alert's status, or with the action and its parameters."""
    if isinstance(decision, ActionDecision):
        return (decision.rule, decision.key, "action", decision.action, encode(decision.params))
    return (decision.rule, decision.key, decision.does, decision.status if isinstance(decision, AlertDecision) else "")


class Comparison:
    """Takes what both sets of rules decide on each fact; gives the differences in the order in which they first showed."""

    def __init__(self, *, within: Micros = WITHIN, pending: int = PENDING) -> None:
        self.counts: Counter[What] = Counter()
        self.facts = 0
        """Facts that both sets of rules were asked about."""
        self.same = 0
        self.cut_short = 0
        """Differences given before their time was over, for there were too many."""
        self._within = within
        self._bound = pending
        self._queue: deque[Difference] = deque()
        self._open: dict[tuple[Side, Identity], deque[Difference]] = {}

    def __len__(self) -> int:
        return len(self._queue)

    def feed(self, old: Iterable[Decision], new: Iterable[Decision]) -> Iterator[Difference]:
        """What both decided on one fact; the differences that are settled by now."""
        left, right = _by_identity(old), _by_identity(new)
        if not left and not right:
            return
        now = 0
        for name, decisions in left.items():
            others = right.get(name)
            for decision in decisions:
                now = max(now, decision.at)
                if others and others[0].at == decision.at:
                    self._compare_pair(decision, others.popleft())
                else:
                    self._unpaired("old", name, decision)
        for name, decisions in right.items():
            for decision in decisions:
                now = max(now, decision.at)
                self._unpaired("new", name, decision)
        yield from self._settled(now)

    def rest(self) -> Iterator[Difference]:
        """The differences that still wait, when there are no more facts."""
        while self._queue:
            yield self._release(self._queue.popleft())

    def _compare_pair(self, old: Decision, new: Decision) -> None:
        shown = [(side.alert.severity, side.alert.text) if isinstance(side, AlertDecision) else None for side in (old, new)]
        if shown[0] == shown[1]:
            self.same += 1
        else:
            self._queue.append(Difference(old, new))

    def _unpaired(self, side: Side, name: Identity, decision: Decision) -> None:
        other: Side = "new" if side == "old" else "old"
        waiting = self._open.get((other, name))
        while waiting:
            difference = waiting.popleft()
            if not waiting:
                del self._open[other, name]
            if decision.at - difference.shown.at > self._within:
                continue  # too long ago to be the same; it stays what it is
            if side == "old":
                difference.old = decision
            else:
                difference.new = decision
            return
        difference = Difference(decision, None) if side == "old" else Difference(None, decision)
        self._queue.append(difference)
        self._open.setdefault((side, name), deque()).append(difference)

    def _settled(self, now: Micros) -> Iterator[Difference]:
        """From the front: those that found their counterpart, and those that waited for long enough."""
        while self._queue:
            first = self._queue[0]
            paired = first.old is not None and first.new is not None
            if not paired and first.shown.at >= now - self._within:
                if len(self._queue) <= self._bound:
                    return
                self.cut_short += 1
            yield self._release(self._queue.popleft())

    def _release(self, difference: Difference) -> Difference:
        self.counts[difference.what] += 1
        if difference.what in ("added", "removed"):
            place: tuple[Side, Identity] = ("old" if difference.new is None else "new", identity(difference.shown))
            waiting = self._open.get(place)
            if waiting and waiting[0] is difference:
                waiting.popleft()
                if not waiting:
                    del self._open[place]
        return difference


def _by_identity(decisions: Iterable[Decision]) -> dict[Identity, deque[Decision]]:
    found: dict[Identity, deque[Decision]] = {}
    for decision in decisions:
        if decision.does in ("alert", "action"):
            found.setdefault(identity(decision), deque()).append(decision)
    return found


def compare(old: RuleSet, new: RuleSet, lines: Iterable[bytes], faults: Faults, comparison: Comparison) -> Iterator[Difference]:
    """Both sets of rules on the same recording, in one pass. The counts are in `comparison` when it has ended."""
    cores = (Core(old, keep_changes=False), Core(new, keep_changes=False))
    kinds = FactKinds().with_declared(old.declared | new.declared)
    for fact in read_facts(lines, kinds, faults):
        comparison.facts += 1
        yield from comparison.feed(*(step(core, fact, faults) for core in cores))
    yield from comparison.rest()
