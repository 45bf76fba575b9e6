"""The composition root: the only module that knows both the engine and the connectors. Settings in, parts put together out."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from connectors.docker.actions import PruneImages, RemoveContainer, RestartContainer
from connectors.docker.api.client import DockerClient, Timeouts
from connectors.docker.api.endpoint import resolve
from connectors.docker.containers.book import ContainerBook
from connectors.docker.containers.listing import DockerListing, ListingSettings
from connectors.docker.containers.protection import Protection
from connectors.docker.containers.resync import Resync
from connectors.docker.events.lookup import Lookup
from connectors.docker.events.source import DockerEvents
from connectors.docker.health.source import DockerHealth, HealthSettings
from connectors.host.daemon import find_daemon
from connectors.host.disks import STANDARD_PATHS, DiskUsage
from connectors.host.files import OpenFiles
from connectors.host.identity import HostIdentity
from connectors.host.nofile import RaiseNofile
from connectors.host.proc import Stat
from connectors.host.runc import BlockedRuncs, KillRunc
from connectors.host.sockets import SocketUsage
from connectors.host.stacks import CollectStacks
from connectors.logs.factory import make_log_source
from connectors.mounts.holders import MountScanner
from connectors.mounts.inspect import InspectMounts, MountSweep
from connectors.mounts.leaks import LeakBook
from connectors.mounts.unmount import Unmount
from engine.errors import EngineError
from engine.facts.docker import Container
from engine.ports.actions import Action
from engine.ports.sources import FactSource
from engine.settings import Settings

PROBE_CALL_S = 600.0
"""A probe's own calls may take this long: what hangs is decided by the probe, and a call given up would go on in the engine."""


@dataclass(frozen=True, slots=True)
class Connectors:
    """Everything that touches the world, for one host."""

    address: str
    sources: tuple[FactSource, ...]
    actions: dict[str, Action]
    clients: tuple[DockerClient, ...]
    watching: tuple[str, ...]
    """What is watched, one line each, for people."""

    async def close(self) -> None:
        """Give every connection back."""
        for client in self.clients:
            await client.close()


def compose(settings: Settings, *, known_containers: Iterable[Container]) -> Connectors:
    """Put the connectors together; nothing is read or asked before they run.

    Args:
        settings: of the sidecar.
        known_containers: what working memory holds from before a restart.

    Raises:
        SettingsError: an address or a place of a log cannot be understood.
    """
    address = resolve(settings.docker_host or None)
    host = settings.host
    # One client for each purpose: a stream, a hung call and a slow removal must not wait for each other.
    events, look, probe, remedy = (
        DockerClient(address),
        DockerClient(address),
        DockerClient(address, timeouts=Timeouts(call=PROBE_CALL_S, answer=PROBE_CALL_S)),
        DockerClient(address),
    )
    protection = Protection(names=settings.protect.names, images=settings.protect.images)
    known = {container.id: container for container in known_containers}
    dead = [container for container in known.values() if container.status == "dead"]
    book = ContainerBook(host=host, protection=protection, dead_before=dead)
    resync = Resync()
    engine = _Engine(address, settings.exec_root, book, look)

    health = DockerHealth(
        probe,
        host=host,
        settings=HealthSettings(interval=settings.probes.daemon_s, hung_after=settings.probes.daemon_timeout_s),
        blocked_runc=BlockedRuncs().oldest_pid,
    )
    resync.on_stream(health.hurry)
    scanner = MountScanner(lambda: health.root_dir, engine_pid=engine.pid)
    leaks = LeakBook()
    files = OpenFiles(host=host, watch=settings.probes.files_watch, name_of=engine.name_of, interval_s=settings.probes.files_s)

    def disk_paths() -> Iterable[Path]:
        root = health.root_dir
        return [*map(Path, STANDARD_PATHS), *settings.probes.disk_paths, *([root] if root else [])]

    sources: list[FactSource] = [
        DockerEvents(events, Lookup(look, book), book, resync, host=host),
        DockerListing(look, book, resync, host=host, known=known, settings=ListingSettings(interval=settings.probes.list_s)),
        health,
        MountSweep(
            scanner,
            leaks,
            status_of=engine.known_status_of,
            name_of=engine.name_of,
            host=host,
            interval_s=settings.probes.mounts_s,
        ),
        DiskUsage(disk_paths, host=host, interval_s=settings.probes.disk_s),
        files,
        SocketUsage(host=host, interval_s=settings.probes.sockets_s),
        HostIdentity(host=host),
    ]
    watching = [f"engine at {address}"]
    for kind, where in (("kernel", settings.kernel_log), ("dockerd", settings.dockerd_log), ("kubelet", settings.kubelet_log)):
        source = make_log_source(kind, where, host=host)  # type: ignore[arg-type]  # the three names are the three kinds
        if source is not None:
            sources.append(source)
            watching.append(f"{kind} log: {where}")
    watching.append("disks, open files, sockets, mounts, host name")

    actions: list[Action] = [
        RemoveContainer(remedy, book, protection=protection),
        RestartContainer(remedy, book, protection=protection),
        PruneImages(remedy),
        InspectMounts(scanner, leaks, status_of=engine.status_of, name_of=engine.name_of, host=host),
        Unmount(scanner, leaks, status_of=engine.status_of, exec_in=remedy.exec_in, host=host),
        CollectStacks(find_daemon=engine.find, exec_root=settings.exec_root),
        KillRunc(),
        RaiseNofile(ceiling=settings.nofile_ceiling, started=files.started, name_of=engine.name_of, host=host),
    ]
    return Connectors(
        address=address,
        sources=tuple(sources),
        actions={action.name: action for action in actions},
        clients=(events, look, probe, remedy),
        watching=tuple(watching),
    )


class _Engine:
    """Small questions about the engine that several parts ask."""

    def __init__(self, address: str, exec_root: Path, book: ContainerBook, client: DockerClient) -> None:
        self._socket = Path(address.removeprefix("unix://")) if address.startswith("unix://") else None
        self._pid_files = (exec_root.with_suffix(".pid"), exec_root / "docker.pid", exec_root.parent / "docker.pid")
        self._book = book
        self._client = client

    def find(self) -> Stat | None:
        """The daemon's process, None when it is not on this host or may not be seen."""
        pid_file = next((path for path in self._pid_files if path.exists()), None)
        return find_daemon(pid_file=pid_file, engine_socket=self._socket)

    def pid(self) -> int | None:
        """Its process id."""
        found = self.find()
        return found.pid if found is not None else None

    def name_of(self, container: str) -> str:
        """Name of a container, empty when it is not known."""
        known = self._book.get(container)
        return known.name if known is not None else ""

    async def known_status_of(self, container: str) -> str:
        """Status of a container as it was last told; asked only for one that nobody told of."""
        known = self._book.get(container)
        return known.status if known is not None else await self.status_of(container)

    async def status_of(self, container: str) -> str:
        """Status of a container as inspect tells it, `gone` for none."""
        try:
            return (await self._client.inspect(container)).status
        except EngineError as error:
            if error.kind == "not_found":
                return "gone"
            raise
