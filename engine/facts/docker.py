"""Facts about containers and Docker that runs them."""

from typing import ClassVar, Literal

from pydantic import Field

from engine.facts.base import EventFact, StateFact, UtcTime

ContainerStatus = Literal["created", "running", "paused", "restarting", "removing", "exited", "dead"]


class Container(StateFact):
    """One container as listing and inspect tell it. A failed removal is `dead` here, though a list says `removing`."""

    KIND: ClassVar[str] = "container"
    KEY: ClassVar[tuple[str, ...] | None] = ("id",)

    id: str = Field(description="Full container id, 64 hexadecimal digits.")
    name: str = Field(default="", description="Without the leading slash.")
    image: str = Field(default="", description="As the container was created from it.")
    command: str = Field(default="", description="Entrypoint and arguments as the list shows them, without the enclosing quotes.")
    status: ContainerStatus = "created"
    health: str | None = Field(default=None, description="starting, healthy or unhealthy; null without a health check.")
    exit_code: int | None = Field(default=None, description="Exit code as inspect tells it, never as a label claims.")
    oom_killed: bool | None = None
    error: str | None = Field(default=None, description="State.Error of inspect: why it could not start or be removed.")
    created_at: UtcTime | None = None
    started_at: UtcTime | None = None
    finished_at: UtcTime | None = None
    labels: dict[str, str] = Field(default_factory=dict)
    parent: str | None = Field(default=None, description="What keeps creating it, where its labels or name tell.")
    pid: int | None = Field(default=None, description="Process id of its first process on the host.")
    protected: bool = Field(default=False, description="True: no action may touch it (label, name or image pattern).")


class ContainerEvent(EventFact):
    """Something Docker's event stream told of a container."""

    KIND: ClassVar[str] = "container_event"

    action: str = Field(description="create, start, die, oom, kill, stop, destroy, exec_create, health_status, …")
    detail: str | None = Field(
        default=None, description="What stood behind the action: the command of an exec, healthy or unhealthy."
    )
    id: str = Field(description="Full container id.")
    name: str = ""
    image: str = ""
    command: str | None = Field(
        default=None, description="Looked up in a list: no event carries it; null when it was already gone."
    )
    exit_code: int | None = Field(default=None, description="Of a die; null where a label of the same name could have forged it.")
    signal: int | None = Field(default=None, description="Of a kill; null where a label of the same name could have forged it.")
    labels: dict[str, str] = Field(default_factory=dict)
    parent: str | None = Field(default=None, description="What keeps creating it, where its labels or name tell.")


class Daemon(StateFact):
    """Docker itself: does it answer, what is it, how full is its storage."""

    KIND: ClassVar[str] = "daemon"
    KEY: ClassVar[tuple[str, ...] | None] = ()

    reachable: bool = Field(default=True, description="Something accepted the connection.")
    ping_ms: float | None = Field(default=None, description="Milliseconds until /_ping answered.")
    list_ms: float | None = Field(default=None, description="Milliseconds until the container list answered.")
    hung: str | None = Field(
        default=None,
        description="The call that does not answer although connecting works: ping, list, version, inspect; or null.",
    )
    hung_container: str | None = Field(default=None, description="The container whose inspect does not answer.")
    hung_pid: int | None = Field(default=None, description="Process id of a runc that waits for an init that is gone.")
    error: str | None = Field(default=None, description="Why it cannot be reached.")
    version: str | None = None
    api_version: str | None = None
    kernel: str | None = None
    storage_driver: str | None = None
    cgroup_driver: str | None = None
    root_dir: str | None = None
    deferred_removal: bool | None = Field(default=None, description="devicemapper: deferred removal enabled.")
    deferred_deletion: bool | None = Field(default=None, description="devicemapper: deferred deletion enabled.")
    data_ratio: float | None = Field(default=None, description="Used share of the thin pool's data space, 0 to 1.")
    metadata_ratio: float | None = Field(default=None, description="Used share of the thin pool's metadata space, 0 to 1.")
    data_full_in_s: float | None = Field(
        default=None,
        description="Seconds until the data space is full at the present trend; null when it does not grow.",
    )
    metadata_full_in_s: float | None = Field(
        default=None, description="Seconds until the metadata space is full at the present trend."
    )
    containers: int | None = None
    running: int | None = None
    stopped: int | None = None
    warnings: list[str] = Field(default_factory=list, description="What Docker itself warns of.")


class DaemonChange(EventFact):
    """A property of Docker differs from what was last seen, also across restarts of the sidecar."""

    KIND: ClassVar[str] = "daemon_change"

    field: str = Field(description="version, kernel, storage_driver, cgroup_driver or root_dir.")
    old: str = ""
    new: str = ""


class Image(StateFact):
    """An image of this host: of those without a name all, of the others the largest."""

    KIND: ClassVar[str] = "image"
    KEY: ClassVar[tuple[str, ...] | None] = ("id",)

    id: str
    tags: list[str] = Field(default_factory=list, description="Its names.")
    dangling: bool = Field(default=False, description="It has no name any more: a later build or pull took it.")
    size_bytes: int = Field(default=0, description="Layers that it shares with others included.")
    created_at: UtcTime | None = None


class Volume(StateFact):
    """A volume that no container uses, stopped ones included."""

    KIND: ClassVar[str] = "volume"
    KEY: ClassVar[tuple[str, ...] | None] = ("name",)

    name: str
    driver: str = ""
    created_at: UtcTime | None = None


class DockerStorage(StateFact):
    """What images and volumes take, in sum."""

    KIND: ClassVar[str] = "docker_storage"

    images: int = 0
    dangling_images: int = Field(default=0, description="Images without a name.")
    dangling_bytes: int = Field(default=0, description="What they take at most: layers that images share count for each.")
    unused_volumes: int = Field(default=0, description="Volumes that no container uses.")


class MountLeak(StateFact):
    """A mount that belongs to one container, seen in the mount namespace of another."""

    KIND: ClassVar[str] = "mount_leak"
    KEY: ClassVar[tuple[str, ...] | None] = ("holder_id", "path")

    holder_id: str = Field(description="Container whose processes hold the mount; `pid:N` for a process in no container.")
    holder_name: str = ""
    holder_pid: int | None = Field(default=None, description="A process of the holder, on the host.")
    owner_id: str = Field(default="", description="Container the mount belongs to.")
    owner_name: str = ""
    owner_status: str = Field(default="", description="Status of the owner, or `gone`.")
    path: str = Field(description="Mount point as the holder sees it.")
    fstype: str = ""
    shared: bool = Field(default=False, description="Mount is shared with peers: unmounting it here would unmount it elsewhere.")
