"""The process: what ends it, in which order, and what it says then. No engine and no broker are there."""

import asyncio
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from engine.journal import Journal
from engine.pipeline.loop import Sidecar
from engine.settings import Settings
from engine.sidecar.process import Plan, Running, serve
from tests.lab.waiting import until
from tests.unit.pipeline.loop import DEAD, container, rules


class House:
    """A sidecar that finds nobody, and what it says on the terminal."""

    def __init__(self, folder: Path, *extra: Any) -> None:
        self.said: list[str] = []
        self.settings = Settings(
            host="h1",
            docker_host=f"unix://{folder}/none.sock",
            mqtt_url="mqtt://127.0.0.1:1",
            kernel_log="off",
            state=folder,
            mode="act",
        )
        self.plan = Plan(
            settings=self.settings,
            ruleset=rules(DEAD),
            rules_version="v1",
            rules_from="a test",
            say=self.said.append,
            extra_tasks=list(extra),
        )


async def test_a_task_that_ends_unexpectedly_ends_the_process_and_is_named(tmp_path: Path) -> None:
    """Exit code 1, so that whoever supervises starts it anew; and the last line says which part it was."""

    async def broken(_running: Running) -> None:
        raise OSError("the rules folder has gone")

    house = House(tmp_path, broken)
    assert await asyncio.wait_for(serve(house.plan), 30.0) == 1
    assert house.said[-1] == "stopped: task extra:0 ended with an error: the rules folder has gone"


async def test_a_signal_ends_it_in_order_and_in_bounded_time(tmp_path: Path) -> None:
    """Exit code 0; within the ten seconds that `docker stop` grants; what came in before is kept."""

    async def tell_and_leave(running: Running) -> None:
        await running.intake.sink("docker").put([container(1)], cursor="42")
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.Event().wait()

    house = House(tmp_path, tell_and_leave)
    started = time.monotonic()
    assert await asyncio.wait_for(serve(house.plan), 30.0) == 0
    assert time.monotonic() - started < 10.0
    with Journal.open(tmp_path / "journal.db") as journal:
        state = journal.load()
        assert state.cursors["docker"] == "42"
        assert "alert" in {row.kind for row in journal.outbox(100)}
        assert len(state.retries) == 1
    assert not (tmp_path / "status.sock").exists()


async def test_an_engine_that_fails_does_not_keep_the_rest_from_being_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What ended the loop ends the last turn too: the journal is closed all the same, and its lock is free."""

    async def fail(_self: Sidecar, _timeout_s: float | None) -> None:
        raise ZeroDivisionError("rules feed each other")

    monkeypatch.setattr(Sidecar, "turn", fail)
    monkeypatch.setattr(Sidecar, "last_turn", lambda self: fail(self, None))
    house = House(tmp_path)
    assert await asyncio.wait_for(serve(house.plan), 30.0) == 1
    assert "task engine ended with an error: rules feed each other" in house.said[-1]
    Journal.open(tmp_path / "journal.db").close()


async def test_the_sources_have_names_of_their_own(tmp_path: Path) -> None:
    """A cursor, a task and a `source` fact go by them: everything starts, and the status socket answers."""

    async def leave(_running: Running) -> None:
        await until((tmp_path / "status.sock").is_socket, what="the status socket")
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.Event().wait()

    house = House(tmp_path, leave)
    house.plan.settings = house.settings.model_copy(
        update={"kernel_log": str(tmp_path / "k"), "dockerd_log": str(tmp_path / "d"), "kubelet_log": str(tmp_path / "l")}
    )
    assert await asyncio.wait_for(serve(house.plan), 30.0) == 0
