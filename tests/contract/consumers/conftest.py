"""Real servers for consumers."""

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.lab.broker import ScratchBroker
from tests.lab.http_receiver import HttpReceiver, http_receiver


@pytest.fixture
def broker() -> Iterator[ScratchBroker]:
    """A broker of the test's own."""
    with ScratchBroker() as running:
        yield running


@pytest.fixture
async def receiver() -> AsyncIterator[HttpReceiver]:
    """An HTTP server of the test's own."""
    async with http_receiver() as running:
        yield running
