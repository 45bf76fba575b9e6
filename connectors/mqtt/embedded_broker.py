"""A Mosquitto of one's own, on loopback, for when no broker is named. Started, watched, started again, and never left behind.

Anybody on this host may connect to it, as to any service on loopback without passwords: so commands are not taken through it
unless the settings say so.
"""

import asyncio
import contextlib
import os
import pwd
import shutil
import socket
import sys
from pathlib import Path
from types import TracebackType
from typing import NoReturn, Self

import structlog

from connectors.sources.backoff import backoff
from engine.errors import BrokerError

_log = structlog.get_logger(__name__)

HOST = "127.0.0.1"
USUAL_PORT = 1883
_START_S = 10.0
_STOP_S = 5.0
_PAUSE_S = 0.2
"""Before it is started again; doubled each time that fails …"""
_MAX_PAUSE_S = 30.0
"""… up to this."""
_TAIL = 2000
"""Bytes of the broker's log that an error quotes from."""
_MAX_LOG = 1024 * 1024
"""Bytes; a log larger than this begins anew when the broker is started."""

_CONFIGURATION = """\
# Written by dockwarden at each start; changes are lost.
listener {port} {host}
allow_anonymous true
persistence true
# Relative: it runs in this folder, and need not be able to enter those above it.
persistence_location ./
# Without these two lines an acknowledged message lives in memory alone for up to half an hour. With them it is written and synced
# before the next one: some 400 to 900 messages a second, on a disk that syncs in 1 to 4 ms; 5,000 without.
autosave_on_changes true
autosave_interval 1
# A subscriber that went away keeps so many messages waiting, no more.
max_queued_messages 10000
log_dest stderr
log_type error
log_type warning
log_type notice
connection_messages false
"""


class OwnBroker:
    """Mosquitto as a child of this process: `async with OwnBroker(…) as broker`, then have `broker.run()` watch over it."""

    def __init__(self, folder: Path, *, program: str = "mosquitto", port: int = USUAL_PORT) -> None:
        """Nothing is started yet.

        Args:
            folder: for its configuration, log and messages; made when missing.
            program: name or path of Mosquitto.
            port: preferred; another one is taken when somebody listens there. The one taken is kept over restarts.
        """
        self._folder = folder
        self._program = program
        self._preferred = port
        self._process: asyncio.subprocess.Process | None = None
        self.port = 0
        """Where it listens, after `start`."""
        self.restarts = 0
        """How often it had to be started again."""

    @property
    def url(self) -> str:
        """`mqtt://127.0.0.1:PORT`."""
        return f"mqtt://{HOST}:{self.port}"

    @property
    def pid(self) -> int | None:
        """Its process id while it runs."""
        return None if self._process is None or self._process.returncode is not None else self._process.pid

    async def __aenter__(self) -> Self:
        await self.start()
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
            user = self._prepare()
        except OSError as error:
            raise BrokerError(f"cannot prepare a broker in {self._folder}: {error}") from error
        with self._log_file().open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-I",
                "-S",
                str(Path(__file__).with_name("mosquitto_launcher.py")),
                str(os.getpid()),
                user,
                found,
                "-c",
                "mosquitto.conf",
                cwd=self._folder,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        try:
            await self._await_listening(self._process)
        except BaseException:
            await self.stop()
            raise
        _log.info("a broker of our own listens", action="own_broker", url=self.url, pid=self._process.pid)

    async def run(self) -> NoReturn:
        """Start it again whenever it ends, with growing pauses, until cancelled.

        Stopping it is the business of who started it: a task that is cancelled before its first step runs no `finally`.
        """
        pauses = backoff(_PAUSE_S, _MAX_PAUSE_S, spread=0)
        while True:
            if self._process is not None:
                code = await self._process.wait()
                _log.warning("our own broker ended", action="own_broker", exit_code=code, log=self._tail())
            await asyncio.sleep(next(pauses))
            try:
                await self.start()
            except BrokerError as error:
                _log.warning(str(error), action="own_broker")
                continue
            self.restarts += 1
            # Only a broker that does not even start is tried less and less often.
            pauses = backoff(_PAUSE_S, _MAX_PAUSE_S, spread=0)

    async def stop(self) -> None:
        """Stop it: SIGTERM, at which it writes its messages; SIGKILL after 5 s. May be called twice."""
        process, self._process = self._process, None
        if process is None or process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            async with asyncio.timeout(_STOP_S):
                await process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    def _prepare(self) -> str:
        """Folder, port and configuration; the user it shall run as (`-`: ours)."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not self.port:
            self.port = self._choose_port()
        (self._folder / "port").write_text(f"{self.port}\n")
        user = "-"
        text = _CONFIGURATION.format(port=self.port, host=HOST)
        if os.geteuid() == 0:
            user = _unprivileged()
            if user == "-":
                text += "user root\n"
        (self._folder / "mosquitto.conf").write_text(text)
        if self._log_file().exists() and self._log_file().stat().st_size > _MAX_LOG:
            self._log_file().write_bytes(b"")
        if user != "-":
            entry = pwd.getpwnam(user)
            for path in (self._folder, *self._folder.iterdir()):
                os.chown(path, entry.pw_uid, entry.pw_gid, follow_symlinks=False)
        return user

    def _choose_port(self) -> int:
        """The one of last time, else the usual one, else any that is free."""
        wanted = [self._preferred, 0]
        with contextlib.suppress(OSError, ValueError):
            wanted.insert(0, int((self._folder / "port").read_text()))
        for port in wanted:
            with socket.socket() as probe, contextlib.suppress(OSError, OverflowError):
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((HOST, port))
                return int(probe.getsockname()[1])
        raise OSError("no port is free on loopback")

    async def _await_listening(self, process: asyncio.subprocess.Process) -> None:
        try:
            async with asyncio.timeout(_START_S):
                while process.returncode is None:
                    with contextlib.suppress(OSError):
                        _, writer = await asyncio.open_connection(HOST, self.port)
                        writer.close()
                        await writer.wait_closed()
                        return
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise BrokerError(f"mosquitto does not listen on port {self.port} after {_START_S:g} s: {self._tail()}") from None
        raise BrokerError(f"mosquitto ended at once with {process.returncode}: {self._tail()}")

    def _log_file(self) -> Path:
        return self._folder / "mosquitto.log"

    def _tail(self) -> str:
        """The last lines it wrote, on one line."""
        with contextlib.suppress(OSError), self._log_file().open("rb") as log:
            log.seek(max(0, self._log_file().stat().st_size - _TAIL))
            return " | ".join(log.read().decode(errors="replace").splitlines()[-5:])
        return ""


def _unprivileged() -> str:
    """Whom the broker is to be when we are root: the user that its package makes; `-` where there is none."""
    with contextlib.suppress(KeyError):
        return pwd.getpwnam("mosquitto").pw_name
    return "-"
