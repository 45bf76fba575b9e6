"""The decisions of the action `unmount`; what really unmounts is replaced, and proven in tests/live."""

from collections.abc import Sequence

import pytest

from connectors.mounts import unmount
from connectors.mounts.holders import HeldMount
from connectors.mounts.leaks import LeakBook
from connectors.mounts.release import Answer
from connectors.mounts.unmount import Unmount
from engine.facts import Retraction
from engine.ports.actions import ContainerGuard, Outcome
from tests.clocks import FixedClock
from tests.guards import allow, protecting
from tests.unit.mounts.fakes import AT, MONITOR, OTHER, VICTIM, FakeDocker, FakeScanner, held

PARAMS = {"holder": MONITOR, "path": "/d/shm", "container": VICTIM}


class Bench:
    """The action with everything around it scripted."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.scanner = FakeScanner(held())
        self.engine = FakeDocker()
        self.answers: list[Answer] = [Answer(ok=True)]
        self.released: list[HeldMount] = []
        self.guard: ContainerGuard = allow
        monkeypatch.setattr(unmount, "release", self._release)

    async def _release(self, mounts: Sequence[HeldMount]) -> list[Answer]:
        self.released += mounts
        return self.answers

    async def run(self, **params: str) -> Outcome:
        action = Unmount(
            self.scanner,
            LeakBook(),
            status_of=self.engine.status_of,
            guard=self.guard,
            clock=FixedClock.of(AT),
        )
        return await action.run(PARAMS | params)


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    """A leak of a dead container, and a helper that works."""
    return Bench(monkeypatch)


@pytest.mark.parametrize("status", ["dead", "removing", "gone"])
async def test_what_nobody_needs_goes(bench: Bench, status: str) -> None:
    """Success takes the leak's fact back at once."""
    bench.engine.status[VICTIM] = status
    outcome = await bench.run()
    assert outcome.ok
    assert outcome.facts == (Retraction(retract="mount_leak", key=f"{MONITOR}|/d/shm", at=AT, source="mounts"),)
    assert [each.mount.id for each in bench.released] == [11]


@pytest.mark.parametrize("status", ["running", "paused", "restarting", "created", "exited", ""])
async def test_mounts_of_containers_that_may_need_them_stay(bench: Bench, status: str) -> None:
    """Whatever a fact said before: what counts is what Docker says now."""
    bench.engine.status[VICTIM] = status
    outcome = await bench.run()
    assert (outcome.ok, outcome.error_kind, outcome.permanent) == (False, "refused", True)
    assert bench.released == []


async def test_an_engine_that_does_not_say_is_no_permission(bench: Bench) -> None:
    """It is tried again later."""
    bench.engine.status[VICTIM] = "silent"
    outcome = await bench.run()
    assert (outcome.ok, outcome.error_kind, outcome.permanent) == (False, "unreachable", False)
    assert bench.released == []


async def test_shared_mounts_are_refused(bench: Bench) -> None:
    """Unmounting one would unmount its peers, the host's among them."""
    bench.scanner.there = [held(shared=True)]
    outcome = await bench.run()
    assert (outcome.ok, outcome.error_kind, outcome.permanent) == (False, "refused", True)
    assert "shared" in (outcome.error or "")
    assert bench.released == []


async def test_a_mount_of_somebody_else_is_refused(bench: Bench) -> None:
    """A path that is there but belongs to another container, or to none, is not touched."""
    bench.scanner.others = [held("/etc/hosts", owner=OTHER)]
    outcome = await bench.run(path="/etc/hosts")
    assert (outcome.ok, outcome.error_kind) == (False, "refused")
    assert "does not belong" in (outcome.error or "")
    assert bench.released == []


async def test_a_mount_that_is_gone_is_success(bench: Bench) -> None:
    """It is what was wanted; the fact is taken back."""
    bench.scanner.there = []
    outcome = await bench.run()
    assert outcome.ok
    assert len(outcome.facts) == 1
    bench.scanner.there, bench.answers = [held()], [Answer(ok=False, kind="not_found", error="gone")]
    assert (await bench.run()).detail == "/d/shm was gone already"


async def test_blindness_is_not_taken_for_absence(bench: Bench) -> None:
    """Without the right to look, nothing there means nothing."""
    bench.scanner.there, bench.scanner.blind = [], 5
    assert (await bench.run()).error_kind == "denied"


async def test_busy_is_told_in_the_kernels_words(bench: Bench) -> None:
    """It is tried again later."""
    bench.answers = [Answer(ok=False, kind="busy", error="umount: Device or resource busy")]
    outcome = await bench.run()
    assert (outcome.error_kind, outcome.error, outcome.permanent) == ("busy", "umount: Device or resource busy", False)


async def test_where_the_helper_may_not_it_is_denied(bench: Bench) -> None:
    """There is no other way in: nothing is run in the holder."""
    bench.answers = [Answer(ok=False, kind="denied", error="setns: Operation not permitted")]
    outcome = await bench.run()
    assert (outcome.ok, outcome.error_kind, outcome.permanent) == (False, "denied", False)
    bench.scanner.there = [held(holder=None)]
    assert (await bench.run(holder="pid:30")).error_kind == "denied"


@pytest.mark.parametrize("protected", [MONITOR, VICTIM])
async def test_a_protected_holder_or_owner_is_left_alone(bench: Bench, protected: str) -> None:
    """Both are touched, so both are asked about."""
    asked: list[str] = []
    bench.guard = protecting(protected, asked=asked)
    outcome = await bench.run()
    assert (outcome.ok, outcome.error_kind, outcome.permanent) == (False, "refused", True)
    assert sorted(asked) == sorted([VICTIM, MONITOR])
    assert bench.released == []


async def test_a_holder_that_moved_to_another_container_is_left_alone(bench: Bench) -> None:
    """Looked up again once Docker has answered, right before acting."""
    bench.scanner.moved = {30: OTHER}
    assert (await bench.run()).error_kind == "not_found"
    assert bench.released == []
