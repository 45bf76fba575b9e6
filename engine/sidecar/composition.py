"""The composition root: settings in, connectors put together out. The only module of the engine that imports them."""

import json
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from connectors.docker.actions import PruneImages, RemoveContainer, RestartContainer
from connectors.docker.api.client import DockerClient, Timeouts, resolve
from connectors.docker.containers.book import ContainerBook
from connectors.docker.containers.listing import DockerListing, ListingSettings
from connectors.docker.containers.protection import DockerGuard, Protection
from connectors.docker.containers.resync import Resync
from connectors.docker.events.lookup import Lookup
from connectors.docker.events.source import DockerEvents
from connectors.docker.health.source import DockerHealth, HealthSettings
from connectors.docker.storage import StorageLists
from connectors.git.checkout import checkout_of
from connectors.git.client import Address
from connectors.git.repository import RulesRepository
from connectors.host.daemon import find_daemon
from connectors.host.disks import STANDARD_PATHS, DiskUsage
from connectors.host.files import OpenFiles
from connectors.host.identity import HostIdentity
from connectors.host.nofile import RaiseNofile
from connectors.host.runc import BlockedRuncs, KillRunc
from connectors.host.sockets import SocketUsage
from connectors.host.stacks import CollectStacks
from connectors.host.usage import Running, UsageProbe
from connectors.http.server import MonitoringServer
from connectors.logs.factory import make_log_source
from connectors.mounts.holders import MountScanner
from connectors.mounts.inspect import InspectMounts, MountSweep
from connectors.mounts.leaks import LeakBook
from connectors.mounts.unmount import Unmount
from connectors.mqtt.client import connect
from connectors.mqtt.embedded_broker import EmbeddedBroker, local_settings
from connectors.mqtt.feed import Feed
from connectors.mqtt.link import Connect, Link
from connectors.mqtt.publisher import MqttPublisher
from connectors.mqtt.reason_codes import VersionRefusedError
from connectors.mqtt.request import request
from connectors.mqtt.settings import BrokerSettings
from connectors.sources.proc import Stat
from engine.errors import BrokerError, DockerError, SettingsError
from engine.facts.docker import Container
from engine.facts.timestamps import Micros
from engine.logparse import WantedLines
from engine.messages.commands import CommandMessage
from engine.messages.topics import host_topic, reply_topic
from engine.ports.actions import Action
from engine.ports.broker import AlertRecords, CommandHandler, LinkState, Publisher, StatusSource
from engine.ports.clock import Clock
from engine.ports.http import Answerer
from engine.ports.rules import Checkout
from engine.ports.sources import FactSource
from engine.settings import Settings

PROBE_CALL_S = 3600.0
"""A probe's own calls may take this long: what hangs is decided by the probe, and a call given up would go on in Docker."""


@dataclass(frozen=True, slots=True)
class Connectors:
    """Everything that touches the world, for one host."""

    address: str
    sources: tuple[FactSource, ...]
    actions: dict[str, Action]
    clients: tuple[DockerClient, ...]
    watching: tuple[str, ...]
    """What is watched, one line each, for people."""
    _book: ContainerBook
    _events: DockerEvents

    def clock_stepped(self, step: Micros) -> None:
        """The machine's clock was set: times that are remembered move by as much, and Docker is listed anew."""
        length = timedelta(microseconds=step)
        self._book.shift(length)
        self._events.clock_stepped(length)

    async def close(self) -> None:
        """Give every connection back."""
        for client in self.clients:
            await client.close()


def compose(
    settings: Settings, *, known_containers: Iterable[Container], clock: Clock, wanted: WantedLines | None = None
) -> Connectors:
    """Put the connectors together; nothing is read or asked before they run.

    Args:
        settings: of the sidecar.
        known_containers: what working memory holds from before a restart.
        clock: the time of every part.
        wanted: lines of logs that rules ask for.

    Raises:
        SettingsError: an address or a place of a log cannot be understood.
    """
    address = resolve(settings.docker_host or None)
    # One client for each purpose: a stream, a hung call and a slow removal must not wait for each other.
    events, look, probe, remedy = (
        DockerClient(address),
        DockerClient(address),
        DockerClient(address, timeouts=Timeouts(call=PROBE_CALL_S, answer=PROBE_CALL_S)),
        DockerClient(address),
    )

    def clear_unanswered() -> None:
        for client in (events, look, remedy):
            client.unanswered.clear()

    protection = Protection(names=settings.protect.names, images=settings.protect.images)
    known = {container.id: container for container in known_containers}
    dead = [container for container in known.values() if container.status == "dead"]
    book = ContainerBook(protection=protection, dead_before=dead)
    resync = Resync()
    daemon = _Daemon(address, settings.exec_root, book, look)

    health = DockerHealth(
        probe,
        clock=clock,
        settings=HealthSettings(interval=settings.probes.daemon_s, hung_after=settings.probes.daemon_timeout_s),
        blocked_runc=BlockedRuncs().oldest_pid,
        on_answer=clear_unanswered,
    )
    resync.on_stream(health.hurry)
    scanner = MountScanner(lambda: health.root_dir, daemon_pid=daemon.pid)
    leaks = LeakBook()
    files = OpenFiles(clock=clock, watch=settings.probes.files_watch, name_of=daemon.name_of, interval_s=settings.probes.files_s)

    def disk_paths() -> Iterable[Path]:
        root = health.root_dir
        return [*map(Path, STANDARD_PATHS), *settings.probes.disk_paths, *([root] if root else [])]

    stream = DockerEvents(events, Lookup(look, book, clock=clock), book, resync, clock=clock)
    sources: list[FactSource] = [
        stream,
        DockerListing(look, book, resync, clock=clock, known=known, settings=ListingSettings(interval=settings.probes.list_s)),
        health,
        MountSweep(
            scanner,
            leaks,
            status_of=daemon.known_status_of,
            name_of=daemon.name_of,
            clock=clock,
            interval_s=settings.probes.mounts_s,
        ),
        DiskUsage(disk_paths, clock=clock, interval_s=settings.probes.disk_s),
        files,
        StorageLists(look, clock=clock, interval_s=settings.probes.storage_s),
        UsageProbe(lambda: _running(book), clock=clock, interval_s=settings.probes.usage_s),
        SocketUsage(clock=clock, interval_s=settings.probes.sockets_s),
        HostIdentity(clock=clock),
    ]
    watching = [f"Docker at {address}"]
    for kind, where in (("kernel", settings.kernel_log), ("dockerd", settings.dockerd_log), ("kubelet", settings.kubelet_log)):
        source = make_log_source(kind, where, clock=clock, wanted=wanted)  # type: ignore[arg-type]  # the three names are the three kinds
        if source is not None:
            sources.append(source)
            watching.append(f"{kind} log: {where}")
    watching.append("disks, open files, sockets, mounts, host name")

    guard = DockerGuard(remedy, protection, last_known=book.certain)
    actions: list[Action] = [
        RemoveContainer(remedy, book, protection=protection, clock=clock),
        RestartContainer(remedy, book, protection=protection, clock=clock),
        PruneImages(remedy),
        InspectMounts(scanner, leaks, status_of=daemon.status_of, name_of=daemon.name_of, clock=clock),
        Unmount(scanner, leaks, status_of=daemon.status_of, guard=guard, clock=clock),
        CollectStacks(find_daemon=daemon.find, exec_root=settings.exec_root),
        KillRunc(guard=guard),
        RaiseNofile(ceiling=settings.nofile_ceiling, started=files.started, guard=guard, name_of=daemon.name_of, clock=clock),
    ]
    return Connectors(
        address=address,
        sources=tuple(sources),
        actions={action.name: action for action in actions},
        clients=(events, look, probe, remedy),
        watching=tuple(watching),
        _book=book,
        _events=stream,
    )


def monitoring_server(settings: Settings, answerers: Mapping[str, Answerer], clock: Clock) -> MonitoringServer | None:
    """What answers monitoring systems; None where the settings want none."""
    if settings.metrics_listen == "off":
        return None
    host, _, port = settings.metrics_listen.rpartition(":")
    return MonitoringServer(host.strip("[]"), int(port), answerers, clock=clock)


def _running(book: ContainerBook) -> Iterator[Running]:
    """Running containers as the book has them."""
    for container in book.containers():
        if container.status == "running":
            yield Running(container.id, container.name, container.pid or None)


@dataclass(frozen=True, slots=True)
class Broker:
    """Where messages go: the broker that the settings name, or one of our own that runs."""

    where: str
    """For people."""
    embedded: EmbeddedBroker | None
    _settings: BrokerSettings
    _connect: Connect
    _topic: str
    _clock: Clock

    def publisher(
        self, link: LinkState, *, status: StatusSource, will: StatusSource, on_command: CommandHandler, alerts: AlertRecords
    ) -> Publisher:
        """What drains an outbox into it; not connected yet."""
        return MqttPublisher(
            self._settings,
            host_topic=self._topic,
            status=status,
            will=will,
            clock=self._clock,
            alerts=alerts,
            on_command=on_command,
            connect=self._connect,
            state=link,
        )

    def feed(
        self,
        topics: Sequence[str],
        *,
        take: Callable[[str, bytes, bool], None],
        connected: Callable[[], None],
        lost: Callable[[str], None],
        name: str,
    ) -> Feed:
        """A second connection, which listens to many topics; not connected yet. See `Feed`."""
        return Feed(self._settings, topics, clock=self._clock, take=take, connected=connected, lost=lost, name=name)

    async def watch(self, link: LinkState) -> None:
        """Keep our own broker running; without one there is nothing to do."""
        if self.embedded is not None:
            await self.embedded.run(published=lambda: link.published)

    def hints(self) -> list[str]:
        """How to listen to it from this host, one line each."""
        if self.embedded is None:
            return []
        return [f"  listen   XDG_CONFIG_HOME={self.embedded.client_folder} mosquitto_sub -v -t '{self._topic}/#'"]


@asynccontextmanager
async def broker_of(settings: Settings, clock: Clock, *, folder: Path | None) -> AsyncIterator[Broker]:
    """The broker that the settings name; where they name none, one of our own is started, and stopped at the end.

    Args:
        settings: of the sidecar.
        clock: for it.
        folder: of our own one; None: a temporary one, as long as the state folder cannot be written.

    Raises:
        BrokerError: our own one cannot be started.
        SettingsError: the address cannot be understood.
    """
    mqtt, topic = settings.mqtt, host_topic(settings.host)
    if settings.mqtt_url:
        broker = _named_broker(settings)
        yield Broker(broker.where, None, broker, connect, topic, clock)
        return
    with nullcontext(str(folder)) if folder is not None else TemporaryDirectory(prefix="dockwarden-") as place:
        async with EmbeddedBroker(Path(place), clock=clock, commands=mqtt.commands) as embedded:
            own = embedded.settings(commands=mqtt.commands)
            yield Broker(f"{embedded.url} (our own)", embedded, own, embedded.connect, topic, clock)


@asynccontextmanager
async def replies(settings: Settings, request: str) -> AsyncIterator[AsyncIterator[bytes]]:
    """What is published on the reply topic of a request from now on.

    Args:
        settings: of the sidecar that the request is made of.
        request: its id.

    Raises:
        SettingsError: they name no broker: our own one lets nobody else publish, so nobody could reply.
        BrokerError: it cannot be reached, or does not let us listen.
    """
    if not settings.mqtt_url:
        raise SettingsError(
            "the settings name no broker (mqtt_url, DOCKWARDEN_MQTT_URL); the one that the sidecar starts takes no replies:"
            " name the sidecar's own settings with --config, or its broker in the environment"
        )
    broker, topic = _named_broker(settings), reply_topic(settings.host, request)
    async with AsyncExitStack() as stack:
        name = f"dockwarden-{request}"[:128]
        try:
            link: Link = await stack.enter_async_context(connect(broker, client_id=name, version="5", will=None))
        except VersionRefusedError:
            link = await stack.enter_async_context(connect(broker, client_id=name, version="3.1.1", will=None))
        answer = await link.subscribe(topic)
        if answer.verdict != "taken":
            raise BrokerError(f"{broker.where}: may not listen to {topic}: {answer.reason}")
        yield _payloads(link)


async def _payloads(link: Link) -> AsyncIterator[bytes]:
    async for _, payload in link.messages():
        yield payload


def _named_broker(settings: Settings) -> BrokerSettings:
    mqtt = settings.mqtt
    more: dict[str, Any] = {
        "username": mqtt.username,
        "password": mqtt.password,
        "password_file": mqtt.password_file,
        "ca_file": mqtt.ca_file,
        "cert_file": mqtt.cert_file,
        "key_file": mqtt.key_file,
        "keepalive_s": mqtt.keepalive_s,
        "commands": mqtt.commands,
    }
    return BrokerSettings.from_url(settings.mqtt_url, **more)


async def send_command(settings: Settings, command: CommandMessage, payload: bytes, *, timeout_s: float) -> dict[str, Any]:
    """Send a signed command by the broker that the settings name, else by the sidecar's own on this host; its reply.

    Raises:
        BrokerError: no connection, or no answer in time.
        SettingsError: the address cannot be understood.
    """
    broker = _named_broker(settings) if settings.mqtt_url else local_settings(settings.state / "broker")
    answer = await request(
        broker,
        topic=host_topic(command.host, "command", command.name),
        payload=payload,
        reply_topic=reply_topic(command.host, command.id),
        timeout_s=timeout_s,
    )
    try:
        reply = json.loads(answer)
        return dict(reply)
    except (ValueError, TypeError, RecursionError) as error:
        raise BrokerError(f"{broker.where}: the answer is not a JSON object") from error


class _Daemon:
    """Small questions about Docker that several parts ask."""

    def __init__(self, address: str, exec_root: Path, book: ContainerBook, client: DockerClient) -> None:
        self._socket = Path(address.removeprefix("unix://")) if address.startswith("unix://") else None
        self._pid_files = (exec_root.with_suffix(".pid"), exec_root / "docker.pid", exec_root.parent / "docker.pid")
        self._book = book
        self._client = client

    def find(self) -> Stat | None:
        """The daemon's process, None when it is not on this host or may not be seen."""
        pid_file = next((path for path in self._pid_files if path.exists()), None)
        return find_daemon(pid_file=pid_file, daemon_socket=self._socket)

    def pid(self) -> int | None:
        """Its process id."""
        found = self.find()
        return found.pid if found is not None else None

    def name_of(self, container: str) -> str:
        """Name of a container, empty when it is not known."""
        known = self._book.get(container)
        return known.name if known is not None else ""

    async def known_status_of(self, container: str) -> str:
        """Status of a container as it was last emitted; asked only for one that nothing reported."""
        known = self._book.get(container)
        return known.status if known is not None else await self.status_of(container)

    async def status_of(self, container: str) -> str:
        """Status of a container as inspect gives it, `gone` for none."""
        try:
            return (await self._client.inspect(container)).status
        except DockerError as error:
            if error.kind == "not_found":
                return "gone"
            raise


class RulesGit:
    """Git, for the source of rules (`engine.ports.rules.Git`)."""

    def shown(self, address: str) -> str:
        """An address without its secret."""
        return Address.parse(address).url

    def branch(self, folder: Path, *, address: str, ref: str, signed: bool) -> RulesRepository:
        """A branch or tag, kept as a copy in a folder."""
        return RulesRepository(folder, address=address, ref=ref, signed=signed)

    async def checkout_of(self, folder: Path, files: Mapping[str, bytes], *, belongs: Callable[[str], bool]) -> Checkout | None:
        """What a folder was checked out from."""
        return await checkout_of(folder, files, belongs=belongs)
