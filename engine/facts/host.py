"""Facts about the host: its name, disks, processes, sockets, and the sources of facts themselves."""

from datetime import datetime
from typing import ClassVar, Literal, Self

from pydantic import Field

from engine.facts.base import EventFact, StateFact, UtcTime
from engine.facts.timestamps import to_micros


class Disk(StateFact):
    """How full a file system is."""

    KIND: ClassVar[str] = "disk"
    KEY: ClassVar[tuple[str, ...] | None] = ("path",)

    path: str = Field(description="Mount point.")
    used_ratio: float = Field(
        default=0.0, description="Used share of the space that ordinary users may use, 0 to 1 (as df shows it)."
    )
    inodes_ratio: float | None = Field(
        default=None, description="Used share of the inodes; null where the file system has no fixed number."
    )
    free_bytes: int | None = Field(default=None, description="Bytes an ordinary user may still write.")
    full_in_s: float | None = Field(
        default=None, description="Seconds until full at the present trend; null when it does not fill."
    )


class ContainerUsage(StateFact):
    """What a container uses of its limits, while it uses half of one or is throttled. Of others there is no such fact."""

    KIND: ClassVar[str] = "container_usage"
    KEY: ClassVar[tuple[str, ...] | None] = ("container_id",)

    container_id: str
    container_name: str = ""
    memory_bytes: int = Field(default=0, description="Without pages of files that the kernel can drop at once, as far as known.")
    memory_limit_bytes: int | None = Field(default=None, description="Null where there is none.")
    memory_ratio: float | None = Field(default=None, description="Of the limit, 0 to 1.")
    cpu_limit_cores: float | None = Field(default=None, description="Processors' worth of time that it may use.")
    cpu_throttled_ratio: float | None = Field(
        default=None, description="Share of the scheduler's periods since the last look in which it was made to wait, 0 to 1."
    )
    pids: int = Field(default=0, description="Processes and threads.")
    pids_limit: int | None = None
    pids_ratio: float | None = Field(default=None, description="Of the limit, 0 to 1.")


class Pressure(StateFact):
    """Share of time in which tasks waited for a resource (pressure stall information, PSI), while it is worth speaking of."""

    KIND: ClassVar[str] = "pressure"
    KEY: ClassVar[tuple[str, ...] | None] = ("scope", "resource")

    scope: str = Field(description="`host`, or the id of a container.")
    resource: str = Field(description="cpu, memory or io.")
    container_name: str | None = None
    some_avg10: float = Field(default=0.0, description="Percent of the last 10 s in which at least one task waited.")
    some_avg60: float = Field(default=0.0, description="The same of the last minute.")
    full_avg10: float = Field(default=0.0, description="Percent of the last 10 s in which all tasks waited at once.")
    full_avg60: float = Field(default=0.0, description="The same of the last minute.")


class ProcessFiles(StateFact):
    """Open files of a process against its limit."""

    KIND: ClassVar[str] = "process_files"
    KEY: ClassVar[tuple[str, ...] | None] = ("pid",)

    pid: int
    process: str = Field(default="", description="Name of the process, /proc/PID/comm.")
    container_id: str | None = None
    container_name: str | None = None
    open: int = Field(default=0, description="Open file descriptors.")
    soft_limit: int = Field(default=0, description="RLIMIT_NOFILE, soft.")
    hard_limit: int = Field(default=0, description="RLIMIT_NOFILE, hard.")
    ratio: float = Field(default=0.0, description="open / soft_limit.")


class Sockets(StateFact):
    """Sockets and tracked connections of the host's network namespace."""

    KIND: ClassVar[str] = "sockets"
    KEY: ClassVar[tuple[str, ...] | None] = ()

    time_wait: int = Field(default=0, description="TCP sockets in TIME_WAIT.")
    in_use: int = Field(default=0, description="TCP sockets in use.")
    conntrack: int | None = Field(default=None, description="Tracked connections; null where nf_conntrack is not loaded.")
    conntrack_max: int | None = None
    conntrack_ratio: float | None = None


class Host(StateFact):
    """Who this host is."""

    KIND: ClassVar[str] = "host"
    KEY: ClassVar[tuple[str, ...] | None] = ()

    hostname: str
    kernel: str = Field(default="", description="Kernel release, as uname -r.")
    boot_id: str = Field(default="", description="/proc/sys/kernel/random/boot_id: another one after each boot.")


class HostChange(EventFact):
    """The host is not what it was when last seen, also across restarts of the sidecar."""

    KIND: ClassVar[str] = "host_change"

    field: str = Field(description="hostname, kernel or boot_id.")
    old: str = ""
    new: str = ""


SourceState = Literal["ok", "lost", "gap"]


class Source(StateFact):
    """How a source of facts is doing: losses are facts too."""

    KIND: ClassVar[str] = "source"
    KEY: ClassVar[tuple[str, ...] | None] = ("name",)

    name: str = Field(description="docker, docker_log, kernel, kubelet, broker, rules, journal, …")
    status: SourceState = Field(default="ok", description="ok; lost: nothing can be read; gap: something was missed.")
    lost: int = Field(default=0, description="Entries lost or unreadable since the start.")
    since: UtcTime | None = Field(default=None, description="Since when it has this status.")
    error: str | None = Field(default=None, description="Why.")

    @classmethod
    def report(
        cls,
        name: str,
        status: SourceState,
        *,
        at: datetime,
        emitted_by: str = "",
        host: str = "",
        lost: int = 0,
        since: datetime | None = None,
        error: str | None = None,
    ) -> Self:
        """The fact about a source, as every part builds it. `since`: None for from now on; `emitted_by`: empty for the name.

        `host`: empty where the sink stamps it.
        """
        return cls(
            fact_id=f"source-{name}-{to_micros(at)}-{status}-{lost}",
            at=at,
            host=host,
            source=emitted_by or name,
            name=name,
            status=status,
            lost=lost,
            since=since or at,
            error=error or None,
        )
