"""Where rows take place: an engine, a sidecar on it, and the listener that all share."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass

from tests.lab.broker import ScratchBroker
from tests.lab.engine import ScratchEngine
from tests.lab.sidecar import Sidecar
from tests.lab.subscriber import Subscriber


@dataclass(frozen=True, slots=True)
class Scene:
    """What a row gets. Several rows use one scene at a time: none of them may stop or restart the engine."""

    host: str
    engine: ScratchEngine
    sidecar: Sidecar
    subscriber: Subscriber


Stage = Callable[[str, ScratchBroker, Subscriber], AbstractAsyncContextManager[Scene]]
"""Sets a scene up under a host name, and takes it down."""


@asynccontextmanager
async def ordinary(host: str, broker: ScratchBroker, subscriber: Subscriber) -> AsyncIterator[Scene]:
    """An engine as it comes, and a sidecar in mode act on it that reads the kernel's log."""
    async with (
        ScratchEngine() as engine,
        Sidecar(engine, broker, host=host, environment={"DOCKWARDEN_KERNEL_LOG": "/dev/kmsg"}) as sidecar,
    ):
        await sidecar.ready(subscriber)
        yield Scene(host, engine, sidecar, subscriber)
