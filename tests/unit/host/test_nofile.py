"""The action `raise_nofile` on real processes."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from connectors.host.nofile import RaiseNofile
from connectors.sources.proc import Stat
from engine.facts.host import ProcessFiles
from engine.ports.actions import Outcome
from tests.clocks import SYSTEM
from tests.guards import allow, protecting
from tests.unit.host.children import child


@contextmanager
def limited() -> Iterator[Stat]:
    """A process that may open 100 files, and may be allowed 400."""
    with child() as (_, who):
        resource.prlimit(who.pid, resource.RLIMIT_NOFILE, (100, 400))
        yield who


async def raised(who: Stat, limit: Any, *, ceiling: int = 100_000, pid: Any = None, started: int | None = None) -> Outcome:
    """What the action makes of it, for a process that was reported."""
    seen = {who.pid: started or who.started}
    action = RaiseNofile(ceiling=ceiling, started=seen.get, guard=allow, clock=SYSTEM)
    return await action.run({"pid": who.pid if pid is None else pid, "limit": limit})


def limits(who: Stat) -> tuple[int, int]:
    """As the kernel has them."""
    return resource.prlimit(who.pid, resource.RLIMIT_NOFILE)


@pytest.mark.parametrize(("wanted", "ceiling", "new"), [(200, 100_000, 200), (9_000, 100_000, 400), (9_000, 300, 300)])
async def test_raised_as_far_as_is_allowed(wanted: int, ceiling: int, new: int) -> None:
    """Up to what is asked for, the hard limit or the ceiling, whichever is lowest; the hard limit stays."""
    with limited() as who:
        outcome = await raised(who, wanted, ceiling=ceiling)
        assert outcome.ok
        assert outcome.detail == f"limit of {who.comm} ({who.pid}) raised from 100 to {new}"
        assert limits(who) == (new, 400)
        (fact,) = outcome.facts
        assert isinstance(fact, ProcessFiles)
        assert (fact.pid, fact.soft_limit, fact.hard_limit) == (who.pid, new, 400)
        assert fact.ratio == pytest.approx(fact.open / new, abs=1e-4)


@pytest.mark.parametrize("wanted", [50, 100])
async def test_never_lowered(wanted: int) -> None:
    """Less than there is, or the same, is success without a change."""
    with limited() as who:
        outcome = await raised(who, wanted)
        assert outcome.ok
        assert limits(who) == (100, 400)


async def test_no_room_is_a_refusal() -> None:
    """A ceiling below what there is: refused for good, and the bound is named."""
    with limited() as who:
        outcome = await raised(who, 200, ceiling=80)
        assert (outcome.ok, outcome.error_kind, outcome.permanent) == (False, "refused", True)
        assert "ceiling is 80" in (outcome.error or "")
        assert limits(who) == (100, 400)


async def test_only_the_process_whose_files_were_counted() -> None:
    """Another start time than the one reported, or a process never reported, is not touched."""
    with limited() as who:
        assert (await raised(who, 200, started=who.started + 1)).error_kind == "refused"
        action = RaiseNofile(started=lambda _: None, guard=allow, clock=SYSTEM)
        assert (await action.run({"pid": who.pid, "limit": 200})).error_kind == "refused"
        assert limits(who) == (100, 400)


async def test_a_process_that_has_ended() -> None:
    """Not found, for good."""
    with child() as (process, who):
        process.kill()
        process.wait(10)
        outcome = await raised(who, 200)
        assert (outcome.ok, outcome.error_kind, outcome.permanent) == (False, "not_found", True)


@pytest.mark.parametrize(
    ("pid", "limit"), [(None, "many"), (None, True), (None, -1), (None, 0), ("x", 5), (True, 5), (1, 5), (-1, 5), (0, 5)]
)
async def test_nonsense_is_refused(pid: Any, limit: Any) -> None:
    """What are no numbers of a process and of files; process 0 would be ourselves."""
    with child() as (_, who):
        assert (await raised(who, limit, pid=pid)).error_kind == "refused"


async def test_permission_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without SYS_RESOURCE, for another user's process: denied, with what is needed."""

    def denied(*_: object) -> tuple[int, int]:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(resource, "prlimit", denied)
    with child() as (_, who):
        outcome = await raised(who, 200)
        assert outcome.error_kind == "denied"
        assert "SYS_RESOURCE" in (outcome.error or "")


async def test_a_process_of_a_protected_container_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its container is looked up at the moment of acting; what moved to another one meanwhile is not touched either."""
    inside, outside = "a1" * 32, "b2" * 32
    with limited() as who:
        for places, kind in (([inside], "refused"), ([outside, inside], "not_found")):
            left = list(places)
            monkeypatch.setattr(
                "connectors.host.nofile.container_of_pid", lambda *_, left=left: left.pop(0) if len(left) > 1 else left[0]
            )
            action = RaiseNofile(started=lambda _: who.started, guard=protecting(inside), clock=SYSTEM)
            outcome = await action.run({"pid": who.pid, "limit": 200})
            assert (outcome.ok, outcome.error_kind, outcome.permanent) == (False, kind, True)
        assert limits(who) == (100, 400)
