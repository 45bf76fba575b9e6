"""Log sources are held to their contract on both event loops: uvloop runs the sidecar, and watches descriptors in its own way."""

import asyncio
from collections.abc import Callable, Mapping

import pytest
import uvloop


def pytest_asyncio_loop_factories(
    config: pytest.Config,  # noqa: ARG001 -- the hook's signature
    item: pytest.Item,  # noqa: ARG001 -- the hook's signature
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The loops that every test of this folder runs on."""
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
