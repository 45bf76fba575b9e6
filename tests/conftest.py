"""What tests of every kind may ask for. Real servers are started by tests/lab."""

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.lab.engine import ScratchEngine


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def shared_engine() -> AsyncIterator[ScratchEngine]:
    """One engine for all tests that do not break it. Ask for `engine`, which empties it afterwards."""
    async with ScratchEngine() as engine:
        yield engine


@pytest_asyncio.fixture
async def engine(shared_engine: ScratchEngine) -> AsyncIterator[ScratchEngine]:
    """The shared engine, without containers; those that the test leaves are removed."""
    await shared_engine.clear()
    yield shared_engine
    await shared_engine.clear()


@pytest_asyncio.fixture
async def own_engine() -> AsyncIterator[ScratchEngine]:
    """A Docker daemon of the test's own, to be stopped, killed, frozen or otherwise broken."""
    async with ScratchEngine() as engine:
        yield engine
