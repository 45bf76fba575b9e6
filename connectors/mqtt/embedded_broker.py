"""A Mosquitto of our own for when no broker is named: started, watched, started again, and never left behind.

Configuration, passwords and log are ours; Mosquitto, which runs as the user of its package, may write in two subfolders alone. We
reach it by a Unix socket that only we may open, and send nothing there before the kernel has confirmed that our child listens
(SO_PEERCRED, unix(7)): when it dies, nobody else gets the alerts. Other users of this host subscribe on loopback with a generated
password and may only read.

Knows no alerts. Its files: `connectors.mqtt.broker_folder`.
"""

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import stat
import struct
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import NoReturn, Self

import structlog

from connectors.mqtt.broker_folder import HOST, READER, prepare
from connectors.mqtt.client import connect as connect_to
from connectors.mqtt.link import Link, Version
from connectors.mqtt.settings import BrokerSettings
from connectors.sources.backoff import backoff
from engine.errors import BrokerError
from engine.ports.broker import Message
from engine.ports.clock import Clock

_log = structlog.get_logger(__name__)

USUAL_PORT = 1883
_START_S = 10.0
_STOP_S = 2.0
_PAUSE_S = 0.2
"""Before it is started again; doubled each time that fails …"""
_MAX_PAUSE_S = 30.0
"""… up to this."""
_TAIL = 2000
"""Bytes of the broker's log that an error quotes from."""
_SAVE_S = 1.0
"""What was published is written to disk this often at most …"""
_SAVE_BYTES_PER_S = 10_000_000
"""… and less often the larger its file is, since each time all of it is written."""


class EmbeddedBroker:
    """Mosquitto as a child of this process: `async with EmbeddedBroker(…) as broker`, then have `broker.run()` watch over it."""

    def __init__(
        self, folder: Path, *, clock: Clock, program: str = "mosquitto", port: int = USUAL_PORT, commands: bool = False
    ) -> None:
        """Nothing is started yet.

        Args:
            folder: for its configuration, log and messages; made when missing.
            clock: for pauses.
            program: name or path of Mosquitto.
            port: preferred; another one is taken when somebody listens there. It is kept over restarts while it is free.
            commands: whether the user on loopback may publish commands (which are signed).
        """
        self._folder = folder
        self._clock = clock
        self._program = program
        self._preferred = port
        self._commands = commands
        self._process: asyncio.subprocess.Process | None = None
        self._run_folder = -1
        self.port = 0
        """Where it listens on loopback, after `start`."""
        self.restarts = 0
        """How often it had to be started again."""

    @property
    def url(self) -> str:
        """`mqtt://127.0.0.1:PORT`: for subscribers on this host."""
        return f"mqtt://{HOST}:{self.port}"

    @property
    def password_file(self) -> Path:
        """The password of the user `operator` on loopback, for us alone to read."""
        return self._folder / "password"

    @property
    def client_folder(self) -> Path:
        """As XDG_CONFIG_HOME it gives mosquitto_sub(1) port, user and password, none of which then stands in a process list."""
        return self._folder / "client"

    @property
    def pid(self) -> int | None:
        """Its process id while it runs."""
        return None if self._process is None or self._process.returncode is not None else self._process.pid

    def settings(self, **others: object) -> BrokerSettings:
        """How this process reaches it, with `connect`; the socket is named below a descriptor, since a socket's path is short."""
        return BrokerSettings.model_validate({"host": HOST, "port": self.port, "unix_socket": self._socket_path(), **others})

    @asynccontextmanager
    async def connect(self, settings: BrokerSettings, *, client_id: str, version: Version, will: Message) -> AsyncIterator[Link]:
        """Connect to it by the socket; see `connectors.mqtt.link.Connect`. Refuses to speak to anybody but our child."""
        async with connect_to(settings, client_id=client_id, version=version, will=will, trusted_peer=self._is_our_child) as link:
            yield link

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.stop()

    async def start(self) -> None:
        """Start it, and return when it takes connections.

        To be called in the thread that lives as long as the process: the kernel counts the end of the thread that started the
        child as the death of its parent (prctl(2), PR_SET_PDEATHSIG).

        Raises:
            BrokerError: it is not installed or does not start; the message says what to do.
        """
        found = shutil.which(self._program, path=f"{os.environ.get('PATH', '')}:/usr/local/sbin:/usr/sbin:/sbin")
        if found is None:
            raise BrokerError(
                f"no broker is named (DOCKWARDEN_MQTT_URL), and {self._program} is not installed to run one here:"
                " apt-get install mosquitto, or name a broker"
            )
        try:
            ready = prepare(self._folder, preferred_port=self._preferred, commands=self._commands, run_folder=self._run_folder)
        except OSError as error:
            raise BrokerError(f"cannot prepare a broker in {self._folder}: {error}") from error
        self.port, self._run_folder = ready.port, ready.run_folder
        try:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-I",
                "-S",
                str(Path(__file__).with_name("mosquitto_launcher.py")),
                str(os.getpid()),
                ready.user,
                found,
                "-c",
                "mosquitto.conf",
                cwd=self._folder,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=ready.log,
                stderr=ready.log,
            )
        finally:
            os.close(ready.log)
        try:
            await self._await_listening(self._process)
        except BaseException:
            await self._end()
            raise
        _log.info("embedded_broker_started", url=self.url, pid=self._process.pid)

    async def run(self, *, published: Callable[[], int] = lambda: 0) -> NoReturn:
        """Start it again whenever it ends, with growing pauses; have it write what was published. Until cancelled.

        Stopping it is the business of who started it: a task that is cancelled before its first step runs no `finally`.

        Args:
            published: how many messages it was given; when that changes, it is told to write.
        """
        async with asyncio.TaskGroup() as group:
            group.create_task(self._save(published), name="embedded-broker-save")
            await self._watch()
        raise AssertionError("never ends")

    async def stop(self) -> None:
        """Stop it: SIGTERM, at which it writes its messages; SIGKILL after 2 s. May be called twice."""
        await self._end()
        run_folder, self._run_folder = self._run_folder, -1
        if run_folder >= 0:
            os.close(run_folder)

    async def _end(self) -> None:
        process, self._process = self._process, None
        if process is None or process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            # Not asyncio.timeout: before CPython 3.11.3 (Debian 12) its end is taken for a cancellation under way.
            await asyncio.wait_for(process.wait(), _STOP_S)
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def _watch(self) -> NoReturn:
        pauses = backoff(_PAUSE_S, _MAX_PAUSE_S, spread=0)
        while True:
            if self._process is not None:
                code = await self._process.wait()
                _log.warning("embedded_broker_ended", exit_code=code, log=self._tail())
            await self._clock.sleep(next(pauses))
            try:
                await self.start()
            except BrokerError as error:
                _log.warning("embedded_broker_not_started", error=str(error))
                continue
            self.restarts += 1
            # Only a broker that does not even start is tried less and less often.
            pauses = backoff(_PAUSE_S, _MAX_PAUSE_S, spread=0)

    async def _save(self, published: Callable[[], int]) -> NoReturn:
        saved = 0
        while True:
            size = 0
            with contextlib.suppress(OSError):
                size = (self._folder / "data" / "mosquitto.db").lstat().st_size
            await self._clock.sleep(_SAVE_S + size / _SAVE_BYTES_PER_S)
            count = published()
            if count != saved and self._process is not None and self.pid is not None:
                saved = count
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    self._process.send_signal(signal.SIGUSR1)

    def _tail(self) -> str:
        """The last lines it wrote, on one line."""
        with contextlib.suppress(OSError), (self._folder / "mosquitto.log").open("rb") as log:
            log.seek(max(0, os.fstat(log.fileno()).st_size - _TAIL))
            return " | ".join(log.read().decode(errors="replace").splitlines()[-5:])
        return ""

    # -- the socket ---------------------------------------------------------------------------------------------------

    def _socket_path(self) -> Path:
        return Path(f"/proc/self/fd/{self._run_folder}/mqtt.sock")

    def _is_our_child(self, peer: int) -> bool:
        return peer == self.pid

    async def _await_listening(self, process: asyncio.subprocess.Process) -> None:
        try:
            async with asyncio.timeout(_START_S):
                while process.returncode is None:
                    with contextlib.suppress(OSError):
                        self._own_socket()
                        if self._listens():
                            return
                    await self._clock.sleep(0.02)
        except TimeoutError:
            raise BrokerError(f"mosquitto does not listen on port {self.port} after {_START_S:g} s: {self._tail()}") from None
        raise BrokerError(f"mosquitto ended at once with {process.returncode}: {self._tail()}")

    def _own_socket(self) -> None:
        """Make the socket ours alone: Mosquitto makes it its own, for its group too."""
        entry = os.open("mqtt.sock", os.O_PATH | os.O_NOFOLLOW, dir_fd=self._run_folder)
        try:
            found = os.fstat(entry)
            if stat.S_ISSOCK(found.st_mode) and (found.st_uid, found.st_mode & 0o777) != (os.geteuid(), 0o600):
                os.chown(f"/proc/self/fd/{entry}", os.geteuid(), os.getegid())
                os.chmod(f"/proc/self/fd/{entry}", 0o600)  # noqa: PTH101  a descriptor, not a path
        finally:
            os.close(entry)

    def _listens(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(1)
            probe.connect(str(self._socket_path()))
            (peer, _, _) = struct.unpack("3i", probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
            return self._is_our_child(peer)


def local_settings(folder: Path) -> BrokerSettings:
    """How other programs of this host reach an embedded broker that runs, as the user on loopback.

    Args:
        folder: the broker's, in the sidecar's state folder.

    Raises:
        BrokerError: none runs there, or we may not read its password.
    """
    try:
        port = int((folder / "port").read_text())
        (folder / "password").stat()
    except (OSError, ValueError) as error:
        raise BrokerError(
            f"{folder}: no embedded broker to be used ({error}). Name the broker (mqtt_url, --url) or the state folder (--state)."
        ) from error
    return BrokerSettings(host=HOST, port=port, username=READER, password_file=folder / "password")
