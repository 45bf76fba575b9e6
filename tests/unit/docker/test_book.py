"""What is known of containers stays right, whatever comes in whatever order."""

import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import ClassVar, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.docker.api.event import DockerEvent, read_event
from connectors.docker.containers.book import Change, ContainerBook, Mark
from connectors.docker.containers.protection import Protection
from engine.facts import Retraction
from engine.facts.docker import Container, ContainerStatus
from engine.facts.timestamps import to_micros
from engine.ports.docker import ContainerDetail, ContainerSummary

ID = "0123456789abcdef" * 4
START = datetime(2026, 11, 20, 16, 0, tzinfo=UTC)


def at(seconds: float) -> datetime:
    """A moment."""
    return START + timedelta(seconds=seconds)


def event(action: str, seconds: float, *, container: str = ID, **attributes: str) -> DockerEvent:
    """An event of a container."""
    nano = int(at(seconds).timestamp() * 1_000_000) * 1_000
    actor = {"ID": container, "Attributes": {"name": "web", "image": "box:1"} | attributes}
    return read_event(json.dumps({"Type": "container", "Action": action, "Actor": actor, "timeNano": nano}).encode())


def test_a_list_tells_once() -> None:
    """The same list again has no news."""
    book = ContainerBook()
    summary = ContainerSummary(ID, "web", "box:1", "sleep 1", "running")
    (fact,) = book.apply_list(book.mark(at(1)), [summary])
    assert isinstance(fact, Container)
    assert (fact.status, fact.command, fact.at) == ("running", "sleep 1", at(1))
    assert book.apply_list(book.mark(at(2)), [summary]) == []


def test_a_destruction_since_the_list_was_asked_is_not_undone() -> None:
    """The list still shows the container; it is gone all the same."""
    book = ContainerBook()
    book.apply_event(event("create", 1))
    mark = book.mark(at(2))
    (gone,) = book.apply_event(event("destroy", 3))
    assert isinstance(gone, Retraction)
    assert book.apply_list(mark, [ContainerSummary(ID, status="created")]) == []
    assert book.get(ID) is None


def test_a_container_that_was_dead_before_a_restart_is_still_dead() -> None:
    """The list calls it removing: that would resolve its alert and raise it anew with every restart."""
    before = ContainerBook()
    (dead,) = before.apply_detail(before.mark(at(1)), ContainerDetail(ID, status="dead", error="busy"))
    assert isinstance(dead, Container)
    book = ContainerBook(dead_before=[dead])
    assert book.apply_list(book.mark(at(2)), [ContainerSummary(ID, status="removing")]) == []
    assert book.apply_detail(book.mark(at(3)), ContainerDetail(ID, status="dead", error="busy")) == []
    assert [type(change) for change in book.retire(book.mark(at(4)), set())] == [Retraction]


@pytest.mark.parametrize("step", [-3600.0, 3600.0])
def test_after_the_clock_was_set_what_comes_now_is_newer_than_what_was_known(step: float) -> None:
    """Events and lists by the new clock count, also against a list that was asked for by the old one."""
    book = ContainerBook()
    book.apply_event(event("start", 10))
    book.apply_list(book.mark(at(20)), [ContainerSummary(ID, "web", "box:1", "sleep 1", "running")])
    mark = book.mark(at(30))
    book.shift(timedelta(seconds=step))
    book.apply_list(mark, [ContainerSummary(ID, "web", "box:1", "sleep 1", "paused")])
    known = book.get(ID)
    assert known is not None
    assert (known.status, known.at, known.at_micros) == ("paused", at(30 + step), to_micros(at(30 + step)))
    (died,) = book.apply_event(event("die", 31 + step, exitCode="1"))
    assert isinstance(died, Container)
    assert (died.status, died.at) == ("exited", at(31 + step))


def test_what_was_said_of_a_container_that_is_gone_by_now_is_not_told() -> None:
    """A fact made before the container's end and emitted after it would stay for ever: a removal was decided on it anew."""
    book = ContainerBook()
    made = book.apply_detail(book.mark(at(1)), ContainerDetail(ID, status="exited"))
    assert book.still_true(made) == made
    gone = book.apply_event(event("destroy", 2))
    assert book.still_true([*made, *gone]) == gone


def test_a_creation_since_the_list_was_asked_is_not_taken_back() -> None:
    """The list does not show it yet."""
    book = ContainerBook()
    mark = book.mark(at(2))
    book.apply_event(event("create", 3))
    assert book.retire(mark, set()) == []
    assert book.get(ID) is not None
    assert [type(change) for change in book.retire(book.mark(at(4)), set())] == [Retraction]


def test_an_event_from_before_the_list_changes_nothing() -> None:
    """What it reported is contained in the list already: a late `start` does not bring back a container that has exited."""
    book = ContainerBook()
    book.apply_list(book.mark(at(10)), [ContainerSummary(ID, "web", "box:1", "x", "exited", exit_code=3)])
    assert book.apply_event(event("start", 9)) == []
    fact = book.get(ID)
    assert fact is not None
    assert (fact.status, fact.exit_code) == ("exited", 3)


def test_a_dead_container_stays_dead_until_it_is_gone() -> None:
    """Lists call it removing, an attempt under way makes inspect say removing: it is one problem from beginning to end."""
    book = ContainerBook()
    book.apply_detail(book.mark(at(1)), ContainerDetail(ID, status="dead", error="busy"))
    assert book.apply_list(book.mark(at(2)), [ContainerSummary(ID, status="removing")]) == []
    assert book.apply_detail(book.mark(at(3)), ContainerDetail(ID, status="removing", error=None)) == []
    book.apply_event(event("die", 4))
    fact = book.get(ID)
    assert fact is not None
    assert (fact.status, fact.error) == ("dead", "busy")
    assert [type(change) for change in book.apply_gone(book.mark(at(5)), ID)] == [Retraction]


def test_the_create_event_tells_the_labels() -> None:
    """It brings nothing of its own, so a container without a label named exitCode is known to have none."""
    book = ContainerBook()
    book.apply_event(event("create", 1))
    (fact,) = book.apply_event(event("die", 2, exitCode="7"))
    assert isinstance(fact, Container)
    assert fact.exit_code == 7
    other = "f" * 64
    (forged,) = book.apply_event(event("die", 2, container=other, exitCode="0"))
    assert isinstance(forged, Container)
    assert forged.exit_code is None


def test_what_was_only_looked_up_is_not_told_before_its_state_is_known() -> None:
    """A look-up for an exec's command must not say that the container is `created`."""
    book = ContainerBook()
    book.learn(ContainerSummary(ID, "web", "box:1", "sleep 1", "running"))
    assert book.apply_event(event("exec_create: x", 1)) == []
    assert book.command(ID) == "sleep 1"
    (fact,) = book.apply_event(event("start", 2))
    assert isinstance(fact, Container)
    assert (fact.status, fact.command) == ("running", "sleep 1")


def test_a_new_run_forgets_the_last_one_s_end() -> None:
    """Exit code, error and OOM are of the run that ended."""
    book = ContainerBook()
    book.apply_event(event("create", 1))
    book.apply_event(event("start", 2))
    book.apply_event(event("oom", 3))
    (died,) = book.apply_event(event("die", 4, exitCode="137"))
    assert isinstance(died, Container)
    assert (died.oom_killed, died.exit_code) == (True, 137)
    (again,) = book.apply_event(event("start", 5))
    assert isinstance(again, Container)
    assert (again.oom_killed, again.exit_code, again.finished_at) == (None, None, None)


def test_an_oom_that_inspect_does_not_speak_of_stays() -> None:
    """A child was killed, the first process was not: inspect says false."""
    book = ContainerBook()
    book.apply_event(event("create", 1))
    book.apply_event(event("start", 2))
    book.apply_event(event("oom", 3))
    book.apply_detail(book.mark(at(4)), ContainerDetail(ID, status="running", oom_killed=False))
    fact = book.get(ID)
    assert fact is not None
    assert fact.oom_killed is True


def test_protection_follows_a_rename() -> None:
    """A container renamed to a protected name is protected from then on."""
    book = ContainerBook(protection=Protection(names=("db-*",)))
    book.apply_event(event("create", 1))
    (fact,) = book.apply_event(event("rename", 2, name="db-1"))
    assert isinstance(fact, Container)
    assert fact.protected


def test_those_gone_are_remembered_within_bounds() -> None:
    """A storm of 10,000 that come and go leaves nothing behind but the newest of them."""
    book = ContainerBook()
    for number in range(10_000):
        container = f"{number:064x}"
        book.apply_event(event("create", number, container=container))
        book.apply_event(event("destroy", number + 0.5, container=container))
    assert len(book) == 0
    assert len(book._gone) <= 4_096


class World:
    """A small engine of one container at a time, and a book that receives of it late.

    Events wait in a queue until `next`; lists are taken at `mark` and come in at `late`.
    """

    AFTER: ClassVar = {"create": "created", "start": "running", "die": "exited", "pause": "paused", "unpause": "running"}
    ALLOWED: ClassVar = {"start": ("created", "exited"), "die": ("running",), "pause": ("running",), "unpause": ("paused",)}

    def __init__(self) -> None:
        self.book = ContainerBook()
        self.truth: dict[str, str] = {}
        self.emitted: dict[str, str] = {}
        self.waiting: list[DockerEvent] = []
        self.asked: list[tuple[Mark, dict[str, str]]] = []
        self.now = 0.0
        self.generation = 0

    def step(self, name: str) -> None:
        """One thing happens, if it can."""
        self.now += 1.0
        match name:
            case "mark":
                self.asked.append((self.book.mark(at(self.now)), dict(self.truth)))
            case "late" if self.asked:
                self.listed(*self.asked.pop(0))
            case "list":
                self.listed(self.book.mark(at(self.now)), dict(self.truth))
            case "next" if self.waiting:
                self.take(self.book.apply_event(self.waiting.pop(0)))
            case _:
                self.live(name)

    def live(self, action: str) -> None:
        """Something happens to the container."""
        container = f"{self.generation:064x}"
        status = self.truth.get(container)
        if (action == "create" and status is None) or status in self.ALLOWED.get(action, ()):
            self.truth[container] = self.AFTER[action]
        elif action == "destroy" and status is not None:
            del self.truth[container]
            self.generation += 1
        else:
            return
        self.waiting.append(event(action, self.now, container=container))

    def take(self, changes: Iterable[Change]) -> None:
        """What a working memory makes of it."""
        for change in changes:
            if isinstance(change, Container):
                self.emitted[change.id] = change.status
            elif isinstance(change, Retraction):
                self.emitted.pop(change.key, None)

    def listed(self, mark: Mark, state: dict[str, str]) -> None:
        """A list comes in."""
        entries = [ContainerSummary(id_, status=cast("ContainerStatus", status)) for id_, status in state.items()]
        self.take(self.book.apply_list(mark, entries))
        self.take(self.book.retire(mark, set(state)))


LIFE = ["create", "start", "die", "pause", "unpause", "destroy"]


@given(st.lists(st.sampled_from([*LIFE, "mark", "late", "list", "next", "next"]), max_size=50))
def test_a_list_at_the_end_agrees_with_the_engine(steps: list[str]) -> None:
    """Whatever happened, however late events and lists arrive: after the last list, book and emitted facts are the truth."""
    world = World()
    for name in steps:
        world.step(name)
    while world.waiting:
        world.step("next")
    while world.asked:
        world.step("late")
    world.step("list")
    assert world.emitted == world.truth
    assert {fact.id: fact.status for fact in world.book.containers()} == world.truth
