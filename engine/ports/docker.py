"""What is asked of Docker, in Docker's own terms but typed. Knows no HTTP and no client library.

Every method raises `engine.errors.DockerError`, and nothing else, for what a daemon may do: be gone, refuse, fail, not answer.
"""

from collections.abc import AsyncIterator, Collection
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from engine.facts.docker import ContainerStatus


@dataclass(frozen=True, slots=True)
class ContainerSummary:
    """A container as the list gives it.

    The list says `removing` of a container whose removal failed: only inspect knows that it is dead.
    """

    id: str
    name: str = ""
    image: str = ""
    command: str = ""
    status: ContainerStatus = "running"
    exit_code: int | None = None
    """Of an exited container, from the status text ("Exited (137) 5 minutes ago"), which no label can forge."""
    health: str | None = None
    created_at: datetime | None = None
    labels: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ContainerDetail:
    """A container as inspect gives it."""

    id: str
    name: str = ""
    image: str = ""
    command: str = ""
    status: ContainerStatus = "running"
    exit_code: int | None = None
    """None while it has not ended yet (Docker says 0 then)."""
    oom_killed: bool | None = None
    error: str | None = None
    health: str | None = None
    created_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    labels: dict[str, str] = field(default_factory=dict)
    pid: int | None = None


@dataclass(frozen=True, slots=True)
class DockerVersion:
    """What Docker says it is."""

    version: str = ""
    api_version: str = ""
    kernel: str = ""


@dataclass(frozen=True, slots=True)
class DockerInfo:
    """How Docker is set up, and how full it is."""

    version: str = ""
    kernel: str = ""
    storage_driver: str = ""
    cgroup_driver: str = ""
    root_dir: str = ""
    driver_status: tuple[tuple[str, str], ...] = ()
    """Pairs as `docker info` prints them below the storage driver: ("Data Space Used", "16.2 GB")."""
    containers: int | None = None
    running: int | None = None
    stopped: int | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Pruned:
    """What a clean-up removed."""

    count: int
    """Image layers deleted and names removed."""
    bytes: int
    """Bytes that are free again."""


@dataclass(frozen=True, slots=True)
class ImageSummary:
    """An image as a list has it."""

    id: str
    tags: tuple[str, ...]
    size: int
    """Bytes, layers that it shares with others included."""
    created_at: datetime | None

    @property
    def dangling(self) -> bool:
        """It has no name any more: a later build or pull took it."""
        return not self.tags


@dataclass(frozen=True, slots=True)
class VolumeSummary:
    """A volume as a list has it."""

    name: str
    driver: str
    created_at: datetime | None


class DockerApi(Protocol):
    """One connection to Docker. Each call is bounded in time by itself, except `events`."""

    async def ping(self) -> None:
        """Ask for the least that a daemon can answer."""

    async def version(self) -> DockerVersion:
        """Ask what it is. Asks containerd too, and so hangs when that hangs."""

    async def info(self) -> DockerInfo:
        """Ask how it is set up. Asks containerd too, and so hangs when that hangs."""

    async def list_containers(self, *, ids: Collection[str] = (), statuses: Collection[str] = ()) -> list[ContainerSummary]:
        """All containers, running or not; with `ids` or `statuses` only those of them that match.

        A daemon that does not know one of the statuses refuses the call.
        """

    async def inspect(self, container: str) -> ContainerDetail:
        """One container. Raises `not_found` when there is none such."""

    async def remove(self, container: str, *, force: bool = False, volumes: bool = False) -> None:
        """Remove a container.

        Args:
            container: its full id.
            force: kill it first when it runs. Without it Docker refuses running ones itself (`running`).
            volumes: remove its anonymous volumes too.

        Raises:
            DockerError: among others `not_found`, `in_progress`, `running`, `busy`; `timeout` says nothing of what Docker
                goes on doing: it may still remove the container later.
        """

    async def restart(self, container: str, *, timeout_s: int | None = None) -> None:
        """Stop and start a container; killed when it did not stop after `timeout_s` (None: Docker's default, 10 s)."""

    async def start_container(self, container: str) -> None:
        """Start a container; one that runs already is left as it is."""

    async def prune_images(self) -> Pruned:
        """Remove images that have no name and that no container uses."""

    async def list_images(self) -> list[ImageSummary]:
        """All images that have a name or did have one; layers in between are left out."""

    async def list_unused_volumes(self) -> list[VolumeSummary]:
        """Volumes that no container uses, stopped ones included."""

    def events(self, *, since: str) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """The event stream: bytes as they come, JSON objects separated by newlines, cut anywhere.

        Args:
            since: `seconds.nanoseconds`, inclusive. Docker remembers the last 256 events at most, in memory.

        Entering waits until Docker answered. The stream ends (or raises `unreachable`) when Docker goes.
        """

    async def close(self) -> None:
        """Give the connection back. May be called twice."""
