"""The status, and the socket on which it is asked for."""

import asyncio
import contextlib
import json
import stat
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path
from typing import Any

import pytest

from engine.facts.host import Source
from engine.facts.timestamps import from_micros
from engine.pipeline import report
from engine.ports.broker import LinkState
from engine.sidecar import status as status_module
from engine.sidecar import status_socket
from engine.sidecar.status import Status
from engine.sidecar.status_socket import QUESTION_BYTES, StatusSocket, ask
from tests.lab.waiting import until
from tests.unit.pipeline.loop import House, Refusing, container
from tests.unit.pipeline.support import BUSY, START, cid, settle


async def _echo(question: dict[str, Any]) -> dict[str, Any]:
    return {"asked": question}


@contextlib.asynccontextmanager
async def listening(path: Path, answer: Any = None) -> AsyncIterator[None]:
    """A socket that answers."""
    task = asyncio.create_task(StatusSocket(path, answer or _echo).run(), name="status")
    await until(path.is_socket, what="the socket", pause_s=0.001)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task}, timeout=2.0)


async def send(path: Path, data: bytes) -> bytes:
    """What comes back for these bytes."""
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(data)
    writer.write_eof()
    try:
        return await asyncio.wait_for(reader.read(), 5.0)
    finally:
        writer.close()


class TestSocket:
    async def test_a_question_has_an_answer(self, tmp_path: Path) -> None:
        """One JSON line there, one back."""
        path = tmp_path / "status.sock"
        async with listening(path):
            assert await ask(path, {"ask": "status"}) == {"asked": {"ask": "status"}}

    async def test_only_the_same_user_may_ask(self, tmp_path: Path) -> None:
        """What runs on this host is nobody else's business."""
        path = tmp_path / "status.sock"
        async with listening(path):
            await ask(path, {})
            assert stat.S_IMODE(path.stat().st_mode) == 0o600

    @pytest.mark.parametrize(
        "data",
        [b"{\n", b"\xff\xfe\n", b"[" * 60_000 + b"\n", b"x" * (2 * QUESTION_BYTES) + b"\n", b'{"a": 1e999}\n', b"\x00\n"],
    )
    async def test_hostile_questions_harm_nobody(self, tmp_path: Path, data: bytes) -> None:
        """Broken JSON, brackets without end, a line without end: the next one is answered."""
        path = tmp_path / "status.sock"
        async with listening(path):
            # The server may close while we still send; that is its answer.
            with contextlib.suppress(ConnectionError):
                await send(path, data)
            assert await ask(path, {}) == {"asked": {}}

    @pytest.mark.parametrize("data", [b"", b"\n", b"[1]\n", b"7\n"])
    async def test_a_question_that_asks_nothing_gets_the_status(self, tmp_path: Path, data: bytes) -> None:
        """`nc -U` with a bare return will do."""
        path = tmp_path / "status.sock"
        async with listening(path):
            answer = await send(path, data)
            assert answer in (b'{"asked": {}}\n', b"")
            assert data == b"\n" or answer

    async def test_who_never_asks_is_let_go(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A connection that says nothing is closed after a while."""
        monkeypatch.setattr(status_socket, "ANSWER_S", 0.05)
        path = tmp_path / "status.sock"
        async with listening(path):
            reader, writer = await asyncio.open_unix_connection(path)
            assert await asyncio.wait_for(reader.read(), 5.0) == b""
            writer.close()

    async def test_a_state_folder_with_a_long_path_will_do(self, tmp_path: Path) -> None:
        """The address of a unix socket has 107 bytes; the path to it may have more."""
        folder = tmp_path / ("long" * 40)
        folder.mkdir()
        path = folder / "status.sock"
        async with listening(path):
            assert await ask(path, {}) == {"asked": {}}

    async def test_a_socket_that_a_killed_process_left_is_no_obstacle(self, tmp_path: Path) -> None:
        """It is replaced; and taken away at an end in order."""
        path = tmp_path / "status.sock"
        path.touch()
        task = asyncio.create_task(StatusSocket(path, _echo).run(), name="status")
        await until(path.is_socket, what="the socket", pause_s=0.001)
        task.cancel()
        await asyncio.wait({task}, timeout=2.0)
        assert not path.exists()

    async def test_nobody_there_is_an_error_of_the_system(self, tmp_path: Path) -> None:
        """The verb makes a sentence of it."""
        with pytest.raises(OSError, match="No such file"):
            await ask(tmp_path / "status.sock", {})


class TestStatus:
    @pytest.fixture
    async def house(self, tmp_path: Path) -> AsyncIterator[House]:
        """A sidecar that acts."""
        house = House(tmp_path)
        yield house
        await house.writer.close()

    @staticmethod
    def status(house: House, link: LinkState | None = None) -> Status:
        """Its status."""
        state = link or LinkState(connected=True, protocol="5")
        return Status(house.sidecar, state, version="1.2.3", watching=("engine",))

    @staticmethod
    async def answered(house: House, asking: Coroutine[Any, Any, Any]) -> Any:
        """What comes of a question to the loop, which takes a turn for it."""
        task = asyncio.create_task(asking, name="question")
        await settle()
        await house.turn()
        return await task

    async def test_it_says_what_fires_and_what_is_scheduled(self, house: House) -> None:
        """As JSON, with times and counts."""
        house.outcomes[cid(1)] = [BUSY]
        await house.emit(container(1))
        await house.act()
        full = await self.answered(house, self.status(house).full())
        json.dumps(full)
        assert full["firing"] == len(full["alerts"]) == 1
        assert (full["alerts"][0]["rule"], full["alerts"][0]["key"]) == ("dead-container", cid(1))
        assert (full["jobs"][0]["action"], full["jobs"][0]["attempts"], full["jobs_scheduled"]) == ("remove_container", 1, 1)
        assert full["troubles"] == []

    async def test_it_says_what_dockwarden_suffers_from(self, house: House) -> None:
        """The journal, the broker, a source, each in a sentence."""
        Refusing(house.journal).full = True
        at = from_micros(START)
        await house.emit(Source(name="kernel", status="gap", lost=7, error="overrun", at=at))
        link = LinkState(connected=False, last_error="connection refused", denied_topics={"t": "Not authorized"})
        status = self.status(house, link)
        await self.answered(house, status.refresh())
        data = status.data()
        text = "\n".join(data.troubles)
        for part in ("journal: ", "broker: connection refused", "t is denied: Not authorized", "source kernel: gap: overrun"):
            assert part in text
        assert data.losses == {"kernel": 7}

    async def test_what_is_listed_is_bounded_and_counted_whole(self, house: House, monkeypatch: pytest.MonkeyPatch) -> None:
        """A storm's alerts do not make a status of megabytes."""
        monkeypatch.setattr(report, "LISTED", 2)
        house.freeze.set()
        await house.emit(*(container(number) for number in range(5)))
        full = await self.answered(house, self.status(house).full())
        assert (len(full["alerts"]), full["firing"], len(full["jobs"]), full["jobs_scheduled"]) == (2, 5, 2, 5)

    async def test_a_loop_that_does_not_answer_is_reported(self, house: House, monkeypatch: pytest.MonkeyPatch) -> None:
        """The status message goes out all the same, and names it."""
        monkeypatch.setattr(status_module, "ANSWER_S", 0.0)
        status = self.status(house)
        await status.refresh()
        assert any("the loop has not answered" in problem for problem in status.data().troubles)
        await self.answered(house, _patient(status))
        assert status.data().troubles == []

    async def test_why_not_is_answered_by_the_loop(self, house: House) -> None:
        """What each part of a rule lacks at this moment."""
        answer = await self.answered(house, self.status(house).answer({"ask": "why-not", "rule": "dead-container"}))
        assert answer["known"]


async def _patient(status: Status) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(status_module, "ANSWER_S", 5.0)
        await status.refresh()
