"""What is known of each container, from lists, inspections and events; says what changed, as facts. Sans-I/O.

The list is the truth, events are the hurry. Both come in at their own pace, so each reading of Docker carries a `Mark` that
was made before it was asked: what happened after the mark is newer than the reading and is not overwritten by it, and an event
from before the mark is already contained in it.

A container that was seen dead stays dead until it is gone. Docker calls it `removing` in lists, and again in inspections
while a removal is tried anew, but nothing brings it back to life; following that back and forth would end and begin the same
problem with every attempt.
"""

from collections import OrderedDict
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from connectors.docker.api.event import DESTROYED, SHORT_ID, DockerEvent
from connectors.docker.api.readings import parent_of
from connectors.docker.containers.protection import Protection
from connectors.sources.text import NAME_CHARS, clean
from engine.facts import Fact, Retraction
from engine.facts.docker import Container
from engine.facts.timestamps import to_micros
from engine.ports.docker import ContainerDetail, ContainerSummary

_GONE_REMEMBERED = 4_096
"""Containers remembered as gone, so that a list that was asked before does not bring them back."""

_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
_RUN_ANEW: dict[str, Any] = {"exit_code": None, "finished_at": None, "error": None, "oom_killed": None, "pid": None}
"""What was true of the former run only."""

_LIFE_ACTIONS = frozenset({"create", "start", "die", "pause", "unpause"})

_STATE_ACTIONS = frozenset({"create", "start", "die", "pause", "unpause", "oom", "rename", "health_status"})
"""All others (exec_create and the like, thousands a second) leave the state as it is."""

Change = Fact | Retraction


@dataclass(frozen=True, slots=True)
class Mark:
    """The moment before Docker was asked: event time, and the number of changes known by then."""

    at: datetime
    number: int
    shifted: timedelta = timedelta(0)
    """By how much the clock had been set by then."""


@dataclass(slots=True)
class _Entry:
    fact: Container
    number: int
    """Of its last change by an event."""
    read_at: datetime = _BEGINNING
    """Mark of the newest reading: events from before are contained in it."""
    answered_at: datetime = _BEGINNING
    """When that reading was answered, if it was a list: events from between may be contained in it, or not."""
    command_known: bool = False
    image_known: bool = False
    """True when an event or an inspection gave it: a list names the image by its id once the tag has moved on."""
    labels_known: bool = False


class ContainerBook:
    """All containers of one daemon, and the facts about them."""

    def __init__(self, *, protection: Protection | None = None, dead_before: Iterable[Container] = ()) -> None:
        """Nothing is known yet but what was dead before a restart: a list calls that `removing`, which would end its problem."""
        self._protection = protection or Protection()
        self._entries: dict[str, _Entry] = {fact.id: _Entry(fact, 0) for fact in dead_before}
        self._gone: OrderedDict[str, int] = OrderedDict()
        self._gone_before: frozenset[str] = frozenset()
        """Beginnings of ids that were gone before a restart, and whose last events come once more."""
        self._number = 0
        self._shifted = timedelta(0)

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[str]:
        return iter(tuple(self._entries))

    def get(self, container: str) -> Container | None:
        """What is known of a container; None when it is not known."""
        entry = self._entries.get(container)
        return entry.fact if entry else None

    def certain(self, container: str) -> Container | None:
        """The same, where its labels are known for certain."""
        entry = self._entries.get(container)
        return entry.fact if entry and entry.labels_known else None

    def containers(self) -> list[Container]:
        """All that is known."""
        return [entry.fact for entry in self._entries.values()]

    def command(self, container: str) -> str | None:
        """The command of a container; None when it is not known."""
        entry = self._entries.get(container)
        return entry.fact.command if entry and entry.command_known else None

    def labels(self, container: str) -> dict[str, str] | None:
        """The labels of a container; None when they are not known for certain."""
        entry = self._entries.get(container)
        return entry.fact.labels if entry and entry.labels_known else None

    def mark(self, at: datetime) -> Mark:
        """Make a mark now, before asking Docker."""
        return Mark(at, self._number, self._shifted)

    def shift(self, step: timedelta) -> None:
        """The clock was set by so much: else what comes now would be older than what is known, or newer than what comes next."""
        self._shifted += step
        for entry in self._entries.values():
            for name in ("read_at", "answered_at"):
                if getattr(entry, name) != _BEGINNING:
                    setattr(entry, name, getattr(entry, name) + step)
            if entry.fact.at != _BEGINNING:
                entry.fact = entry.fact.model_copy(update={"at": entry.fact.at + step})
                entry.fact.__dict__.pop("at_micros", None)  # cached of the time before

    def _present(self, mark: Mark) -> Mark:
        """The mark by the clock as it is set now."""
        return replace(mark, at=mark.at + self._shifted - mark.shifted) if mark.shifted != self._shifted else mark

    def remember_gone(self, short_ids: Collection[str]) -> None:
        """These (12 digits each) were gone before a restart: what events say of them once more does not bring them back."""
        self._gone_before = frozenset(short_ids)

    def still_true(self, changes: Iterable[Change]) -> list[Change]:
        """These changes, with only the last state of each container, and none of those that are gone by now.

        A start that is reported only after the exit is known ends and begins nothing: what counts is how it ended. And whoever
        waits between making changes and emitting them asks this first: an event may have reported the end meanwhile,
        and a fact that comes after its own retraction would stay for ever.
        """
        latest: list[Change] = []
        seen: set[str] = set()
        for change in reversed(list(changes)):
            if isinstance(change, Container):
                if change.id in self._gone or change.id in seen:
                    continue
                seen.add(change.id)
            latest.append(change)
        return latest[::-1]

    # --- readings ---

    def learn(self, summary: ContainerSummary) -> None:
        """Take what never changes in a container's life (command, labels, …) and nothing of its state; makes no facts.

        For a look-up on behalf of events that are not emitted yet.
        """
        entry = self._entries.get(summary.id)
        if entry is None and summary.id not in self._gone:
            fact = self._fact(summary.id, _BEGINNING, status="created", name=summary.name, created_at=summary.created_at)
            entry = self._entries[summary.id] = _Entry(fact, self._number)
        if entry is not None:
            entry.fact = entry.fact.model_copy(update=self._lasting(entry, summary))

    def apply_list(self, mark: Mark, summaries: Iterable[ContainerSummary], *, answered: datetime | None = None) -> list[Change]:
        """Take a list, or a part of it, in. `mark` was made before it was asked for; `answered`: when the answer had come."""
        mark = self._present(mark)
        return [change for summary in summaries for change in self._apply_summary(mark, summary, answered or mark.at)]

    def retire(self, mark: Mark, listed: Collection[str]) -> list[Change]:
        """Retract what is not in a list of all containers, except what came after the mark."""
        missing = [id_ for id_, entry in self._entries.items() if id_ not in listed and entry.number <= mark.number]
        return [change for id_ in missing for change in self.apply_gone(mark, id_)]

    def _apply_summary(self, mark: Mark, summary: ContainerSummary, answered: datetime) -> list[Change]:
        if self._gone.get(summary.id, -1) > mark.number:
            return []
        self._gone.pop(summary.id, None)
        entry = self._entries.get(summary.id)
        if entry is None:
            entry = self._entries[summary.id] = _Entry(self._fact(summary.id, _BEGINNING), mark.number)
        update = self._lasting(entry, summary)
        if entry.number <= mark.number and entry.read_at <= mark.at:
            entry.read_at, entry.answered_at = mark.at, answered
            update |= {"name": summary.name, "status": self._never_revived(entry, summary.status), "health": summary.health}
            if summary.exit_code is not None:
                update["exit_code"] = summary.exit_code
            if summary.status == "running" and entry.fact.status in ("created", "exited", "restarting"):
                update |= _RUN_ANEW
        return self._change(entry, mark.at, update)

    def apply_detail(self, mark: Mark, detail: ContainerDetail) -> list[Change]:
        """Take an inspection in."""
        mark = self._present(mark)
        if self._gone.get(detail.id, -1) > mark.number:
            return []
        entry = self._entries.get(detail.id)
        if entry is None:
            entry = self._entries[detail.id] = _Entry(self._fact(detail.id, _BEGINNING), mark.number)
        update: dict[str, Any] = {"image": detail.image, "command": detail.command, "labels": detail.labels}
        entry.command_known = entry.image_known = entry.labels_known = True
        if entry.number <= mark.number and entry.read_at <= mark.at:
            entry.read_at = mark.at
            status = self._never_revived(entry, detail.status)
            update |= {
                "name": detail.name,
                "status": status,
                "exit_code": detail.exit_code,
                # An event reported a child's end by OOM; inspect speaks of the first process only.
                "oom_killed": entry.fact.oom_killed or detail.oom_killed,
                # While a removal is tried anew Docker forgets the last one's error; the problem has not gone.
                "error": detail.error or (entry.fact.error if status == "dead" else None),
                "health": detail.health,
                "created_at": detail.created_at,
                "started_at": detail.started_at,
                "finished_at": detail.finished_at,
                "pid": detail.pid,
            }
        return self._change(entry, mark.at, update)

    def apply_gone(self, mark: Mark, container: str) -> list[Change]:
        """A reading said that there is no such container."""
        entry = self._entries.get(container)
        if entry is None or entry.number > mark.number:
            return []
        return self._forget(container, self._present(mark).at)

    # --- events ---

    def is_uncertain(self, event: DockerEvent) -> bool:
        """True where only an inspection shows what holds: it happened while a list was asked for, which may contain it or not.

        Taken for later, the start of a container that has long exited would set it back to running.
        """
        entry = self._entries.get(event.id)
        return entry is not None and event.action in _LIFE_ACTIONS and entry.read_at < event.at <= entry.answered_at

    def apply_event(self, event: DockerEvent) -> list[Change]:
        """Take an event about a container in."""
        if event.action in DESTROYED:
            return self._forget(event.id, event.at)
        entry = self._entries.get(event.id)
        if entry is None:
            if event.id in self._gone or event.id[:SHORT_ID] in self._gone_before or _state_after(event, forgeable=True) is None:
                return []
            fact = self._fact(event.id, event.at, status="created", labels=event.labels())
            entry = self._entries[event.id] = _Entry(fact, self._number)
        update: dict[str, Any] = {}
        if event.action == "create" and not entry.labels_known:
            # It brings nothing of its own, so its attributes are the labels, but for those named like `name` and `image`.
            entry.labels_known = True
            update["labels"] = event.labels()
        if not entry.image_known:
            entry.image_known = True
            update["image"] = clean(event.attributes.get("image"))
        if event.at > entry.read_at:
            forgeable = event.could_be_forged("exitCode", entry.fact.labels if entry.labels_known else None)
            state = _state_after(event, forgeable=forgeable)
            if state is not None:
                self._number += 1
                entry.number = self._number
                if entry.fact.status == "dead":
                    state.pop("status", None)
                update |= state
        return self._change(entry, event.at, update)

    # --- facts ---

    def _fact(self, container: str, at: datetime, **fields: Any) -> Container:
        return Container(id=container, at=at, source="docker", **fields)

    def _lasting(self, entry: _Entry, summary: ContainerSummary) -> dict[str, Any]:
        update: dict[str, Any] = {"command": summary.command, "labels": summary.labels}
        if entry.fact.created_at is None:
            update["created_at"] = summary.created_at
        if not entry.image_known:
            update["image"] = summary.image
        entry.command_known = entry.labels_known = True
        return update

    def _never_revived(self, entry: _Entry, status: str) -> str:
        return "dead" if entry.fact.status == "dead" and status == "removing" else status

    def _change(self, entry: _Entry, at: datetime, update: dict[str, Any]) -> list[Change]:
        """The fact anew, where it says something else than before."""
        fact = entry.fact
        emitted = bool(fact.fact_id)
        if emitted and all(getattr(fact, name) == value for name, value in update.items()):
            return []
        if {"name", "image", "labels"} & update.keys():
            name, image, labels = (update.get(field, getattr(fact, field)) for field in ("name", "image", "labels"))
            update["parent"] = parent_of(labels)
            update["protected"] = self._protection.covers(name=name, image=image, labels=labels)
        if not emitted and "status" not in update:
            entry.fact = fact.model_copy(update=update)  # only looked up so far: its state is not known yet
            return []
        update["at"] = max(at, fact.at)  # a fact older than the one it replaces would be ignored
        update["fact_id"] = f"container-{fact.id[:12]}-{to_micros(update['at'])}-{self._number}"
        entry.fact = fact.model_copy(update=update)
        return [entry.fact]

    def _forget(self, container: str, at: datetime) -> list[Change]:
        self._number += 1
        self._gone[container] = self._number
        if len(self._gone) > _GONE_REMEMBERED:
            self._gone.popitem(last=False)
        entry = self._entries.pop(container, None)
        if entry is None:
            return []
        at = max(at, entry.fact.at)
        fact_id = f"gone-{container[:12]}-{to_micros(at)}"
        return [Retraction(retract=Container.KIND, key=container, at=at, fact_id=fact_id, source="docker")]


def _state_after(event: DockerEvent, *, forgeable: bool) -> dict[str, Any] | None:
    """What an event changes in a container's state; None when it changes nothing.

    `forgeable`: true when its exit code may be a label's.
    """
    if event.action not in _STATE_ACTIONS:
        return None
    name = clean(event.attributes.get("name"), NAME_CHARS)
    changes: dict[str, dict[str, Any]] = {
        "create": {"status": "created", "created_at": event.at, "name": name},
        "start": _RUN_ANEW | {"status": "running", "started_at": event.at, "name": name},
        "die": {
            "status": "exited",
            "exit_code": None if forgeable else event.number("exitCode"),
            "finished_at": event.at,
            "pid": None,
            "health": None,
        },
        "pause": {"status": "paused"},
        "unpause": {"status": "running"},
        "oom": {"oom_killed": True},
        "rename": {"name": name},
        "health_status": {"health": event.detail},
    }
    return changes[event.action]
