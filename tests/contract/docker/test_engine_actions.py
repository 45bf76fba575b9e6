"""What remedies do to containers, on the fake and on a real engine."""

from datetime import UTC, datetime

import pytest

from connectors.docker.actions import PruneImages, RemoveContainer, RestartContainer
from connectors.docker.api.client import DockerClient
from connectors.docker.containers.book import ContainerBook
from connectors.docker.containers.protection import DockerGuard, Protection
from connectors.docker.fake import FakeDocker
from engine.errors import DockerError
from engine.facts import Retraction
from engine.facts.docker import Container
from engine.ports.actions import Action
from engine.ports.docker import ContainerDetail, DockerApi, DockerInfo
from tests.clocks import SYSTEM
from tests.contract.docker.harness import FakeHarness, Harness
from tests.lab.engine import ScratchEngine
from tests.lab.faults.deletion import busy_directory

NOBODY = "f" * 64
PROTECTION = Protection(names=("db-*",))


def _remove(engine: DockerApi) -> RemoveContainer:
    return RemoveContainer(engine, ContainerBook(), protection=PROTECTION, clock=SYSTEM)


async def test_an_exited_container_is_removed_and_its_fact_taken_back(harness: Harness) -> None:
    """The outcome is good, the container is gone, and working memory receives of it at once."""
    container = await harness.exited(0)
    engine = harness.client()
    action: Action = _remove(engine)
    outcome = await action.run({"container": container})
    assert (outcome.ok, outcome.error) == (True, None)
    assert isinstance(outcome.facts[-1], Retraction)
    assert outcome.facts[-1].key == container
    assert await engine.list_containers() == []


async def test_removing_what_is_gone_is_a_success(harness: Harness) -> None:
    """A 404 means that somebody else has done it; the fact is taken back."""
    outcome = await _remove(harness.client()).run({"container": NOBODY})
    assert outcome.ok
    assert [getattr(fact, "key", None) for fact in outcome.facts] == [NOBODY]


async def test_a_running_container_is_refused_and_goes_on(harness: Harness) -> None:
    """For good: another attempt would be in vain; nothing was sent to Docker that could end it."""
    container = await harness.running()
    engine = harness.client()
    outcome = await _remove(engine).run({"container": container})
    assert (outcome.ok, outcome.error_kind, outcome.permanent) == (False, "running", True)
    assert (await engine.inspect(container)).status == "running"


@pytest.mark.parametrize(("name", "labels"), [("db-1", None), ("other", {"dockwarden.protect": "true"})])
async def test_a_protected_container_is_refused(harness: Harness, name: str, labels: dict[str, str] | None) -> None:
    """By pattern and by label, neither removed nor restarted."""
    container = await harness.create("true", name=name, labels=labels)
    engine = harness.client()
    restart = RestartContainer(engine, ContainerBook(), protection=PROTECTION, clock=SYSTEM)
    for action in (_remove(engine), restart):
        outcome = await action.run({"container": container})
        assert (outcome.ok, outcome.error_kind, outcome.permanent) == (False, "refused", True)
    assert (await engine.inspect(container)).status == "created"


async def test_a_failed_removal_says_why_and_tells_the_dead_container(harness: Harness) -> None:
    """Docker's words, worth another attempt, with the state that no event has; repaired, the next attempt succeeds."""
    container = await harness.exited(0)
    await harness.break_removal(container)
    action = _remove(harness.client())
    outcome = await action.run({"container": container})
    assert (outcome.ok, outcome.permanent) == (False, False)
    assert "unable to remove filesystem" in (outcome.error or "")
    dead = outcome.facts[-1]
    assert isinstance(dead, Container)
    assert (dead.id, dead.status) == (container, "dead")
    await harness.repair_removal(container)
    assert (await action.run({"container": container})).ok


async def test_restart_restarts(harness: Harness) -> None:
    """A running container has started anew; one that is not there is not found, for good."""
    container = await harness.running()
    engine = harness.client()
    before = (await engine.inspect(container)).started_at
    action: Action = RestartContainer(engine, ContainerBook(), protection=PROTECTION, clock=SYSTEM)
    assert (await action.run({"container": container, "timeout": 0}, touch_running=True)).ok
    assert (await engine.inspect(container)).started_at != before
    outcome = await action.run({"container": NOBODY})
    assert (outcome.error_kind, outcome.permanent) == ("not_found", True)


async def test_a_running_container_is_not_restarted_unless_it_may_be(harness: Harness) -> None:
    """By name, by short id, by id: what counts is what inspect says at that moment, not what anybody knows of the name."""
    container = await harness.running(name="busy")
    engine = harness.client()
    before = (await engine.inspect(container)).started_at
    action: Action = RestartContainer(engine, ContainerBook(), protection=PROTECTION, clock=SYSTEM)
    for target in ("busy", container[:12], container):
        outcome = await action.run({"container": target, "timeout": 0})
        assert (outcome.ok, outcome.error_kind, outcome.permanent) == (False, "running", True)
    assert (await engine.inspect(container)).started_at == before


async def test_an_exited_container_is_started(harness: Harness) -> None:
    """A restart of what does not run touches nothing that runs."""
    container = await harness.exited(3, name="over")
    engine = harness.client()
    before = (await engine.inspect(container)).started_at
    action: Action = RestartContainer(engine, ContainerBook(), protection=PROTECTION, clock=SYSTEM)
    assert (await action.run({"container": "over"})).ok
    assert (await engine.inspect(container)).started_at != before


async def test_starting_what_runs_leaves_it_as_it_is(harness: Harness) -> None:
    """The port's `start_container` ends nothing."""
    container = await harness.running()
    engine = harness.client()
    before = (await engine.inspect(container)).started_at
    await engine.start_container(container)
    after = await engine.inspect(container)
    assert (after.status, after.started_at) == ("running", before)


async def test_the_guard_asks_docker_and_goes_by_what_it_knew_when_there_is_no_answer(harness: Harness) -> None:
    """A protected one is refused, also while Docker is away; one that is gone, or unknown for sure, is not; else: not now."""
    protected = await harness.running(labels={"dockwarden.protect": "true"})
    other = await harness.running()
    docker = harness.client()
    book = ContainerBook()
    guard = DockerGuard(docker, PROTECTION, last_known=book.certain)
    refused = await guard(protected)
    assert refused is not None
    assert (refused.error_kind, refused.permanent) == ("refused", True)
    assert await guard(other) is None
    assert await guard(NOBODY) is None


async def test_a_guard_without_docker(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is certain decides; where nothing is, nothing is touched for now."""
    monkeypatch.setattr("connectors.docker.containers.protection.ASK_S", 0.05)
    harness = FakeHarness()
    protected = await harness.running(labels={"dockwarden.protect": "true"})
    other = await harness.running()
    book = ContainerBook()
    for each in (protected, other):
        book.apply_detail(book.mark(datetime.now(UTC)), await harness.fake.inspect(each))
    guard = DockerGuard(harness.fake, PROTECTION, last_known=book.certain)
    for away in ("hangs", "down"):
        if away == "hangs":
            harness.fake.hang("inspect")
        else:
            harness.fake.go_down()
        kinds = [refused and refused.error_kind for refused in [await guard(each) for each in (protected, other, NOBODY)]]
        assert kinds == ["refused", None, "unreachable"]


class _Replaced(FakeDocker):
    """Right after it was looked at, a container is removed and another one takes its name."""

    async def inspect(self, container: str) -> ContainerDetail:
        detail = await super().inspect(container)
        if detail.name == "web" and not self.replaced:
            self.replaced = self.create("sleep", name="web", labels={"dockwarden.protect": "true"})
            self.rename(detail.id, "web-old")
        return detail

    replaced = ""


async def test_what_was_looked_at_is_what_is_removed() -> None:
    """By its id: another container of its name is another one."""
    docker = _Replaced()
    old = docker.create("true", name="web")
    outcome = await _remove(docker).run({"container": "web"})
    assert outcome.ok
    assert [entry.id for entry in await docker.list_containers()] == [docker.replaced]
    assert old != docker.replaced


async def test_pruning_says_what_was_removed(harness: Harness) -> None:
    """Where there is nothing dangling nothing is removed, and named images stay."""
    action: Action = PruneImages(harness.client())
    outcome = await action.run({})
    assert outcome.ok
    assert outcome.detail == "0 layers and names removed, 0.0 MB freed"
    assert await harness.create("true")


async def test_a_busy_removal_is_busy() -> None:
    """The wording decides the kind, which rules chain on."""
    harness = FakeHarness()
    container = await harness.exited(0)
    harness.fake.fail_removal(container)
    outcome = await _remove(harness.fake).run({"container": container})
    assert (outcome.ok, outcome.error_kind, outcome.permanent) == (False, "busy", False)


async def test_a_removal_under_way_is_in_progress() -> None:
    """Another attempt may find it done."""
    harness = FakeHarness()
    container = await harness.exited(0)
    harness.fake.begin_removal(container)
    outcome = await _remove(harness.fake).run({"container": container})
    assert (outcome.ok, outcome.error_kind, outcome.permanent) == (False, "in_progress", False)


async def test_an_engine_that_is_gone_is_unreachable() -> None:
    """No exception, an outcome."""
    harness = FakeHarness()
    harness.fake.go_down()
    for action in (_remove(harness.fake), PruneImages(harness.fake)):
        outcome = await action.run({"container": NOBODY})
        assert (outcome.ok, outcome.error_kind, outcome.permanent) == (False, "unreachable", False)


async def test_a_hanging_engine_is_a_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    """The attempt is bounded by itself, and says that Docker may still be at it."""
    monkeypatch.setattr("connectors.docker.actions.ATTEMPT_S", 0.05)
    harness = FakeHarness()
    container = await harness.exited(0)
    harness.fake.hang("remove")
    outcome = await _remove(harness.fake).run({"container": container})
    assert (outcome.ok, outcome.error_kind, outcome.permanent) == (False, "timeout", False)
    assert "may still be at it" in (outcome.error or "")


class _StartsMeanwhile(FakeDocker):
    """Somebody starts a container right after it was looked at."""

    async def inspect(self, container: str) -> ContainerDetail:
        detail = await super().inspect(container)
        if detail.status == "exited":
            self.start(container)
        return detail


async def test_a_container_started_since_it_was_looked_at_is_not_killed() -> None:
    """Removal goes without force then: Docker refuses under its own lock."""
    engine = _StartsMeanwhile()
    container = engine.create("true")
    engine.start(container)
    engine.die(container)
    outcome = await _remove(engine).run({"container": container})
    assert (outcome.ok, outcome.error_kind, outcome.permanent) == (False, "running", True)
    assert (await engine.inspect(container)).status == "running"


class _OldEngine(FakeDocker):
    """Docker up to 1.12 answers the second removal of a dead container with success and does nothing."""

    async def remove(self, container: str, *, force: bool = False, volumes: bool = False) -> None:
        if self.info_given.version != "1.12.6":
            await super().remove(container, force=force, volumes=volumes)


async def test_success_that_left_the_container_is_none() -> None:
    """The container is looked at again afterwards, and a success that removed nothing is a failure."""
    engine = _OldEngine()
    engine.info_given = DockerInfo(version="1.12.6")
    container = engine.create("true")
    engine.become(container, "dead")
    outcome = await _remove(engine).run({"container": container})
    assert (outcome.ok, outcome.error_kind) == (False, "failed")
    assert "still there (dead)" in (outcome.error or "")


@pytest.mark.live
async def test_a_really_busy_removal_is_busy_and_succeeds_once_it_is_free(engine: ScratchEngine) -> None:
    """The kernel's EBUSY in Docker's own words, and the same container removed by the next attempt."""
    container = await engine.create("true")
    client = DockerClient(engine.url)
    try:
        async with busy_directory(engine, container, held=lambda: True):
            outcome = await _remove(client).run({"container": container})
            assert (outcome.ok, outcome.error_kind, outcome.permanent) == (False, "busy", False)
            assert "device or resource busy" in (outcome.error or "")
        assert (await _remove(client).run({"container": container})).ok
    finally:
        await client.close()


async def test_a_docker_that_hangs_before_anything_was_done_is_not_now() -> None:
    """The look before the act was not answered: no attempt was made, and none is counted."""
    harness = FakeHarness()
    container = await harness.exited(0)
    docker = _Unanswered("inspect")
    for action in (_remove(docker), RestartContainer(docker, ContainerBook(), protection=PROTECTION, clock=SYSTEM)):
        outcome = await action.run({"container": container})
        assert (outcome.ok, outcome.error_kind, outcome.permanent) == (False, "unreachable", False)


async def test_a_restart_that_was_sent_counts_whatever_became_of_it() -> None:
    """A second one would restart it once more; one that never left is not now."""
    for begun, kind in ((True, "timeout"), (False, "unreachable")):
        docker = _Unanswered("restart", begun=begun)
        container = docker.create("sleep")
        docker.start(container)
        action = RestartContainer(docker, ContainerBook(), protection=PROTECTION, clock=SYSTEM)
        outcome = await action.run({"container": container}, touch_running=True)
        assert (outcome.ok, outcome.error_kind) == (False, kind)


class _Unanswered(FakeDocker):
    """One kind of call breaks off."""

    def __init__(self, call: str, *, begun: bool = True) -> None:
        super().__init__()
        self._breaks, self._begun = call, begun

    async def _call(self, name: str, container: str = "") -> None:
        if name == self._breaks:
            raise DockerError("no answer", kind="timeout" if name == "inspect" else "unreachable", begun=self._begun)
        await super()._call(name, container)
