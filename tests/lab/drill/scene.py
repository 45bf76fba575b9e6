"""Where rows take place: a Docker daemon, a sidecar on it, and the listener that all share. Knows no row."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass

from tests.lab.broker import ScratchBroker
from tests.lab.engine import ScratchEngine
from tests.lab.faults import SmallDisk, UtsNamespace, small_disk, uts_namespace
from tests.lab.sidecar import Sidecar
from tests.lab.subscriber import Subscriber


@dataclass(frozen=True, slots=True)
class Scene:
    """What a row gets. Several rows use one scene at a time: none of them may stop or restart Docker."""

    host: str
    engine: ScratchEngine
    sidecar: Sidecar
    subscriber: Subscriber
    disk: SmallDisk | None = None
    """The small disk that its data root is on, where the scene has one."""
    uts: UtsNamespace | None = None
    """The sidecar's host name, where it has one of its own."""


Stage = Callable[[str, ScratchBroker, Subscriber], AbstractAsyncContextManager[Scene]]
"""Sets a scene up under a host name, and takes it down."""


ONE_LOOK = {"DOCKWARDEN_PROBES__FILES_S": "86400"}
"""Open files are those of the whole machine, which all scenes share: one alone may look, or another raises the limit first."""


@asynccontextmanager
async def ordinary(host: str, broker: ScratchBroker, subscriber: Subscriber) -> AsyncIterator[Scene]:
    """A Docker daemon as it comes, and a sidecar in mode act on it that reads the kernel's log."""
    environment = {"DOCKWARDEN_KERNEL_LOG": "/dev/kmsg", **ONE_LOOK}
    async with ScratchEngine() as engine, Sidecar(engine, broker, host=host, environment=environment) as sidecar:
        await sidecar.ready(subscriber)
        yield Scene(host, engine, sidecar, subscriber)


@asynccontextmanager
async def looking_at_files(host: str, broker: ScratchBroker, subscriber: Subscriber) -> AsyncIterator[Scene]:
    """The one that looks at open files as it comes."""
    async with ScratchEngine() as engine, Sidecar(engine, broker, host=host) as sidecar:
        await sidecar.ready(subscriber)
        yield Scene(host, engine, sidecar, subscriber)


@asynccontextmanager
async def on_small_disk(host: str, broker: ScratchBroker, subscriber: Subscriber) -> AsyncIterator[Scene]:
    """A Docker daemon whose data root is on a file system of 256 MiB, which is easily filled."""
    async with (
        small_disk(256) as disk,
        ScratchEngine(data_root=disk.path / "docker") as engine,
        Sidecar(engine, broker, host=host, environment=ONE_LOOK) as sidecar,
    ):
        await sidecar.ready(subscriber)
        yield Scene(host, engine, sidecar, subscriber, disk=disk)


@asynccontextmanager
async def under_own_name(host: str, broker: ScratchBroker, subscriber: Subscriber) -> AsyncIterator[Scene]:
    """A sidecar that sees a host name which can be changed without touching the machine's."""
    async with (
        uts_namespace("AMZ-IAD12-OpsResPool-1-2") as uts,
        ScratchEngine() as engine,
        Sidecar(engine, broker, host=host, environment=ONE_LOOK, prefix=uts.prefix) as sidecar,
    ):
        await sidecar.ready(subscriber)
        yield Scene(host, engine, sidecar, subscriber, uts=uts)
