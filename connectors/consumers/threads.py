"""What is said of an incident over time: first, worse, over; sans-I/O, every moment is handed in.

A thread is what one receiver receives about one alert (pagers) or one incident (chats). An end is told only once the incident has
been over for `settle_s`; each time it begins anew in between (it flaps), that time doubles. So a container that restarts
without end is one beginning and one end, however often its alert fires and resolves.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from connectors.consumers.alert import Alert, alert_from_data, rank
from connectors.consumers.notes import Kind, Note
from connectors.consumers.summary import summary_line
from engine.messages.topics import level_text

MAX_THREADS = 5_000
"""Of one receiver; beyond it the one that was quiet longest goes, ended ones first."""
MAX_MEMBERS = 200
"""Firing alerts of one incident that are told apart; of more, only their number is known."""
MAX_LINES = 50
"""Of a digest; the rest is counted."""
FLAP_MEMORY_S = 6 * 3600.0
"""An incident that begins anew within this after its end has flapped."""
_CARRIED = ("evidence", "evidence_omitted", "actions")
"""Left out of what is remembered of an alert: needed when it is sent at once, too large to keep thousands of."""


@dataclass(frozen=True, slots=True)
class Policy:
    """How one receiver wants to be told. Times in seconds."""

    by_alert: bool = False
    """True: a thread for each alert. False: for each incident."""
    updates: bool = False
    """Whether it wants to know of changes that are no escalation: it can change what it shows."""
    update_s: float = 60.0
    """Updates of one thread come no more often than this."""
    settle_s: float = 60.0
    """How long it must have been over before the end is told; 0: at once."""
    settle_max_s: float = 3600.0
    """What the settling time of a flapping incident grows to."""

    def settle(self, flaps: int) -> float:
        """Seconds to wait before the end is told: settle_s * 2**flaps, at most settle_max_s."""
        return min(self.settle_s * 2.0 ** min(flaps, 20), max(self.settle_max_s, self.settle_s))


@dataclass(slots=True)
class Thread:
    """What is known of one thread. Moments are seconds since the epoch."""

    data: dict[str, Any]
    """`data` of the alert that tells most, without its evidence."""
    firing: dict[str, str] = field(default_factory=dict)
    """Severity of each alert that fires, by dedup key."""
    total: int = 0
    """Times that an alert of it began to fire."""
    opened_at: float = 0.0
    worst: str = ""
    """The highest severity so far."""
    announced: str = ""
    """The severity that the receiver was told; empty: it was told nothing."""
    said_at: float = 0.0
    changed: bool = False
    """Something is to be told at the next update."""
    hold_until: float | None = None
    """Quiet hours or a digest hold it back until then."""
    over_at: float | None = None
    """Since when no alert of it fires."""
    ends_at: float | None = None
    """When its end is told."""
    flaps: int = 0

    @property
    def ended(self) -> bool:
        """Nothing is to be told of it any more; it is kept for the memory of flaps."""
        return self.over_at is not None and self.ends_at is None and self.hold_until is None


class Threads:
    """All threads of one receiver."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self._threads: dict[str, Thread] = {}
        self._timed: set[str] = set()
        self.changed: set[str] = set()
        """Threads that are to be stored (those that are gone: to be removed); whoever stores them clears it."""

    def __len__(self) -> int:
        return len(self._threads)

    def __contains__(self, thread: object) -> bool:
        return thread in self._threads

    def load(self, stored: Iterable[tuple[str, str]]) -> None:
        """What `stored` gave before a restart."""
        for name, text in stored:
            self._threads[name] = Thread(**json.loads(text))
            self._note_time(name)
        self.changed.clear()

    def stored(self, name: str) -> str | None:
        """A thread as text; None: it is gone."""
        thread = self._threads.get(name)
        return None if thread is None else json.dumps(asdict(thread), ensure_ascii=False, separators=(",", ":"))

    def firing_data(self) -> Iterator[Mapping[str, Any]]:
        """`data` of the alerts that fire, one for each thread."""
        for thread in self._threads.values():
            if thread.firing and thread.hold_until is None:
                yield thread.data

    def firing_alerts(self) -> Iterator[Alert]:
        """Every alert that fires; of those that do not tell most, only the identity is right."""
        for thread in self._threads.values():
            for dedup_key, severity in thread.firing.items():
                host = level_text(dedup_key.partition("/")[0])
                alert = alert_from_data({**thread.data, "dedup_key": dedup_key, "severity": severity, "host": host})
                if alert is not None:
                    yield alert

    def take(self, alert: Alert, now: float, release_at: float | None = None) -> list[Note]:
        """An alert that is news.

        Args:
            alert: it.
            now: seconds since the epoch.
            release_at: until when it is to wait; None: it is told now.
        """
        name = alert.dedup_key if self.policy.by_alert else alert.group
        if alert.test:
            return (
                [Note("test", name, alert.data, severity=alert.severity, firing=1, opened_at=now, at=now)] if alert.firing else []
            )
        thread = self._threads.get(name)
        if thread is None:
            if not alert.firing:
                return []
            thread = self._threads[name] = Thread(data={}, opened_at=now)
            self._bound(name)
        notes = self._fires(name, thread, alert, now, release_at) if alert.firing else self._resolves(name, thread, alert, now)
        self._note_time(name)
        return notes

    def due(self, now: float) -> list[Note]:
        """What is to be told now although no alert came: ends, updates, what was held back."""
        notes: list[Note] = []
        released: list[str] = []
        for name in sorted(self._timed):
            thread = self._threads[name]
            if thread.hold_until is not None and thread.hold_until <= now:
                thread.hold_until = None
                self.changed.add(name)
                if not thread.announced:
                    released.append(name)
                elif thread.firing and rank(thread.worst) > rank(thread.announced):
                    notes.append(self._say("escalation", name, thread, now))
            if thread.announced and thread.ends_at is not None and thread.ends_at <= now:
                notes.append(self._end(name, thread, now))
            elif thread.announced and thread.changed and now - thread.said_at >= self.policy.update_s:
                notes.append(self._say("update", name, thread, now))
            elif thread.ended and now - (thread.over_at or 0.0) >= FLAP_MEMORY_S:
                self._forget(name)
                continue
            self._note_time(name)
        return notes + self._release(released, now)

    @property
    def next_due(self) -> float | None:
        """When `due` has something to tell, in seconds since the epoch; None: never."""
        return min((moment for name in self._timed if (moment := self._moment(self._threads[name])) is not None), default=None)

    def _fires(self, name: str, thread: Thread, alert: Alert, now: float, release_at: float | None) -> list[Note]:
        began = alert.dedup_key not in thread.firing
        if not thread.firing and thread.over_at is not None:
            self._again(thread, now)
        if began and len(thread.firing) < MAX_MEMBERS:
            thread.total += 1
        if not began or len(thread.firing) < MAX_MEMBERS:
            thread.firing[alert.dedup_key] = alert.severity
        if rank(alert.severity) >= rank(str(thread.data.get("severity", ""))) or thread.data.get("status") != "firing":
            thread.data = _remembered(alert)
        thread.worst = max(thread.worst, alert.severity, key=rank)
        self.changed.add(name)
        if not thread.announced:
            if release_at is not None and release_at > now:
                thread.hold_until = release_at if thread.hold_until is None else min(thread.hold_until, release_at)
                return []
            thread.hold_until = None
            return [self._say("first", name, thread, now, alert)]
        if rank(thread.worst) > rank(thread.announced):
            if release_at is None or release_at <= now:
                thread.hold_until = None
                return [self._say("escalation", name, thread, now, alert)]
            thread.hold_until = release_at
        thread.changed = thread.changed or self.policy.updates
        if thread.changed and now - thread.said_at >= self.policy.update_s:
            return [self._say("update", name, thread, now, alert)]
        return []

    def _resolves(self, name: str, thread: Thread, alert: Alert, now: float) -> list[Note]:
        if thread.firing.pop(alert.dedup_key, None) is None:
            return []
        self.changed.add(name)
        thread.changed = thread.changed or (self.policy.updates and bool(thread.announced))
        if thread.firing:
            return []
        thread.data = _remembered(alert)
        thread.over_at = now
        if not thread.announced:
            return []  # it waits for its release, to be told as a line of a digest, or not at all
        wait = self.policy.settle(thread.flaps)
        thread.ends_at = now + wait
        return [self._end(name, thread, now)] if wait <= 0 else []

    def _again(self, thread: Thread, now: float) -> None:
        """It begins anew: within the settling time it goes on, after its end it is a new one that remembers that it flaps."""
        if thread.ends_at is None and thread.hold_until is None:
            thread.flaps = thread.flaps if now - (thread.over_at or 0.0) < FLAP_MEMORY_S else -1
            thread.opened_at, thread.total, thread.announced, thread.worst = now, 0, "", ""
        thread.flaps += 1
        thread.over_at = thread.ends_at = None

    def _say(self, kind: Kind, name: str, thread: Thread, now: float, alert: Alert | None = None) -> Note:
        thread.said_at, thread.changed = now, False
        thread.announced = max(thread.announced, thread.worst, key=rank)
        self.changed.add(name)
        return self._note(kind, name, thread, now, alert)

    def _end(self, name: str, thread: Thread, now: float) -> Note:
        note = self._note("end", name, thread, now, None)
        thread.ends_at, thread.announced, thread.changed = None, "", False
        self.changed.add(name)
        return note

    def _note(self, kind: Kind, name: str, thread: Thread, now: float, alert: Alert | None) -> Note:
        # The alert as it came has its evidence; it is sent where it is the one that tells most.
        whole = alert is not None and alert.dedup_key == thread.data.get("dedup_key")
        return Note(
            kind,
            name,
            alert.data if whole and alert is not None else thread.data,
            severity=thread.worst,
            firing=len(thread.firing),
            total=thread.total,
            flaps=thread.flaps,
            opened_at=thread.opened_at,
            at=now,
        )

    def _release(self, names: list[str], now: float) -> list[Note]:
        """What was held back: one as itself, several as a digest. A receiver of single alerts gets those that still fire."""
        if not names:
            return []
        if self.policy.by_alert or (len(names) == 1 and self._threads[names[0]].firing):
            return [self._say("first", name, self._threads[name], now) for name in names if self._threads[name].firing]
        lines = []
        threads = [(name, self._threads[name]) for name in names]
        for name, thread in sorted(threads, key=lambda pair: (-rank(pair[1].worst), pair[1].opened_at)):
            alert = alert_from_data(thread.data)
            lines.append(summary_line(alert, 200) if alert is not None else name)
            if thread.firing:
                self._say("first", name, thread, now)
        more = len(lines) - MAX_LINES
        shown = (*lines[:MAX_LINES], *([f"… and {more} more"] if more > 0 else []))
        worst = max((thread.worst for _, thread in threads), key=rank)
        firing = sum(bool(thread.firing) for _, thread in threads)
        return [Note("digest", f"digest/{now:.0f}", {}, severity=worst, firing=firing, total=len(names), at=now, lines=shown)]

    def _moment(self, thread: Thread) -> float | None:
        moments = [moment for moment in (thread.hold_until, thread.ends_at) if moment is not None]
        if thread.announced and thread.changed:
            moments.append(thread.said_at + self.policy.update_s)
        if thread.ended and thread.over_at is not None:
            moments.append(thread.over_at + FLAP_MEMORY_S)
        return min(moments, default=None)

    def _note_time(self, name: str) -> None:
        if self._moment(self._threads[name]) is None:
            self._timed.discard(name)
        else:
            self._timed.add(name)

    def _forget(self, name: str) -> None:
        del self._threads[name]
        self._timed.discard(name)
        self.changed.add(name)

    def _bound(self, new: str) -> None:
        if len(self._threads) <= MAX_THREADS:
            return
        others = (name for name in self._threads if name != new)
        self._forget(min(others, key=lambda name: (not self._threads[name].ended, self._threads[name].said_at)))


def _remembered(alert: Alert) -> dict[str, Any]:
    kept = {name: value for name, value in alert.data.items() if name not in _CARRIED}
    name = _evidence_names(alert)
    return kept | {"evidence": name} if name else kept


def _evidence_names(alert: Alert) -> list[dict[str, Any]]:
    """Just enough of the evidence for names to stand in place of ids."""
    wanted = ("fact", "id", "name", "container_id", "container_name")
    evidence = alert.data.get("evidence")
    facts = [fact for fact in evidence if isinstance(fact, Mapping)] if isinstance(evidence, list) else []
    slim = [{field_: fact[field_] for field_ in wanted if isinstance(fact.get(field_), str)} for fact in facts[:5]]
    return [fact for fact in slim if len(fact) > 1]
