"""The same things made to happen to a fake engine and to a real one, so that one suite tests both."""

import asyncio
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import aiohttp

from connectors.docker.api.client import DockerClient, Timeouts
from connectors.docker.fake import FakeDocker
from engine.ports.docker import DockerApi
from tests.lab.engine import ScratchEngine
from tests.lab.waiting import until


class Harness(ABC):
    """A Docker daemon, and what can be done to it from outside."""

    def __init__(self) -> None:
        self._clients: list[DockerApi] = []

    @abstractmethod
    def _connect(self) -> DockerApi: ...

    def client(self) -> DockerApi:
        """A new connection, closed after the test."""
        client = self._connect()
        self._clients.append(client)
        return client

    async def close(self) -> None:
        """Close all connections, and repair what was broken."""
        for client in self._clients:
            await client.close()

    @abstractmethod
    async def create(self, *command: str, image: str = "box:1", name: str = "", labels: dict[str, str] | None = None) -> str:
        """Create a container."""

    @abstractmethod
    async def start(self, container: str) -> None:
        """Start one that stays until it is ended."""

    @abstractmethod
    async def exited(self, exit_code: int, *, name: str = "", labels: dict[str, str] | None = None) -> str:
        """Run a container that exits with this code, and wait for that."""

    @abstractmethod
    async def unstartable(self) -> str:
        """Create a container and fail to start it."""

    @abstractmethod
    async def break_removal(self, container: str) -> None:
        """From now on it cannot be removed."""

    @abstractmethod
    async def repair_removal(self, container: str) -> None:
        """From now on it can be removed again."""

    @abstractmethod
    async def noise(self, events: int) -> None:
        """Let so many events happen."""

    @abstractmethod
    async def restart(self) -> None:
        """Stop Docker and start it again."""

    @abstractmethod
    async def stop(self) -> None:
        """Stop Docker."""

    async def running(self, *, name: str = "", labels: dict[str, str] | None = None) -> str:
        """Create a container that runs until it is ended, and start it."""
        container = await self.create("sleep", "1000", name=name, labels=labels)
        await self.start(container)
        return container


class FakeHarness(Harness):
    """Over Docker in memory."""

    def __init__(self) -> None:
        super().__init__()
        self.fake = FakeDocker()

    def _connect(self) -> DockerApi:
        return self.fake

    async def create(self, *command: str, image: str = "box:1", name: str = "", labels: dict[str, str] | None = None) -> str:
        return self.fake.create(*command, image=image, name=name, labels=labels)

    async def start(self, container: str) -> None:
        self.fake.start(container)

    async def exited(self, exit_code: int, *, name: str = "", labels: dict[str, str] | None = None) -> str:
        container = self.fake.create("sh", "-c", f"exit {exit_code}", name=name, labels=labels)
        self.fake.start(container)
        self.fake.die(container, exit_code=exit_code)
        await asyncio.sleep(0)  # gives way, as a real one would: a subscriber that cannot read loses events
        return container

    async def unstartable(self) -> str:
        container = self.fake.create("/no/such/program")
        self.fake.fail_start(container, "exec: no such file or directory")
        self.fake.start(container)
        return container

    async def break_removal(self, container: str) -> None:
        self.fake.fail_removal(container, "unable to remove filesystem for {id}: operation not permitted")

    async def repair_removal(self, container: str) -> None:
        self.fake.repair_removal(container)

    async def noise(self, events: int) -> None:
        noisy = self.fake.create(name="noisy")
        for _ in range(events):
            self.fake.emit(noisy, "exec_create: true", execID="1")
            await asyncio.sleep(0)

    async def restart(self) -> None:
        self.fake.go_down()
        self.fake.come_back()

    async def stop(self) -> None:
        self.fake.go_down()


class RealHarness(Harness):
    """Over a dockerd of the test's own."""

    def __init__(self, engine: ScratchEngine) -> None:
        super().__init__()
        self.engine = engine
        self._mends: list[Callable[[], Any]] = []

    def _connect(self) -> DockerApi:
        return DockerClient(self.engine.url, timeouts=Timeouts(connect=2.0, call=20.0, answer=5.0))

    async def close(self) -> None:
        await super().close()
        for repair in self._mends:
            repair()

    async def create(self, *command: str, image: str = "box:1", name: str = "", labels: dict[str, str] | None = None) -> str:
        return await self.engine.create(*command, of=image, name=name or None, labels=labels)

    async def start(self, container: str) -> None:
        await self.engine.docker("start", container)

    async def exited(self, exit_code: int, *, name: str = "", labels: dict[str, str] | None = None) -> str:
        container = await self.engine.run("sh", "-c", f"exit {exit_code}", name=name or None, labels=labels)

        async def over() -> bool:
            return await self.engine.status(container) == "exited"

        await until(over, what="the container to exit")
        return container

    async def unstartable(self) -> str:
        container = await self.engine.create("/no/such/program")
        assert (await self.engine.docker("start", container, check=False)).code != 0
        return container

    def _attribute(self, flag: str, container: str) -> None:
        path = self.engine.data_root / "containers" / container / "hostconfig.json"
        if path.exists():
            subprocess.run(["chattr", flag, path], check=True, timeout=10)

    async def break_removal(self, container: str) -> None:
        self._attribute("+i", container)
        self._mends.append(lambda: self._attribute("-i", container))

    async def repair_removal(self, container: str) -> None:
        self._attribute("-i", container)

    async def noise(self, events: int) -> None:
        connector = aiohttp.UnixConnector(str(self.engine.socket))
        async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=30)) as session:
            for number in range((events + 1) // 2):
                url = "http://docker/volumes"
                async with session.post(f"{url}/create", json={"Name": f"noise{number}"}) as answer:
                    assert answer.status == 201
                async with session.delete(f"{url}/noise{number}") as answer:
                    assert answer.status == 204

    async def restart(self) -> None:
        await self.engine.restart()

    async def stop(self) -> None:
        await self.engine.stop()
