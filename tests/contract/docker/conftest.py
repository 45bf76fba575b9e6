"""One suite over two engines: the fake in memory and a dockerd that the tests start."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.contract.docker.harness import FakeHarness, Harness, RealHarness

BOTH = ["fake", pytest.param("real", marks=pytest.mark.live)]


@pytest.fixture(params=BOTH)
def engines(request: pytest.FixtureRequest) -> Harness:
    """A Docker daemon that the test leaves as it was."""
    return FakeHarness() if request.param == "fake" else RealHarness(request.getfixturevalue("engine"))


@pytest.fixture(params=BOTH)
def own_engines(request: pytest.FixtureRequest) -> Harness:
    """A Docker daemon that the test may stop and break."""
    return FakeHarness() if request.param == "fake" else RealHarness(request.getfixturevalue("own_engine"))


@pytest_asyncio.fixture
async def harness(engines: Harness) -> AsyncIterator[Harness]:
    """What can be done to a Docker daemon; connections are closed and removals repaired afterwards."""
    yield engines
    await engines.close()


@pytest_asyncio.fixture
async def breakable(own_engines: Harness) -> AsyncIterator[Harness]:
    """What can be done to a Docker daemon of the test's own."""
    yield own_engines
    await own_engines.close()
