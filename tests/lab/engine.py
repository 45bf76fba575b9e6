"""A Docker engine of the test's own: its daemon, containerd, data and socket in a scratch folder, one image, no network.

It disturbs no other engine of the machine, and leaves nothing behind: no process, mount, control group or file, also when it
was stopped with SIGSTOP or killed, and when the test's own process is killed (the daemon gets SIGTERM then; the next engine that
starts sweeps up the rest).
"""

import asyncio
import json
import signal
import subprocess
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, Self

from tests.lab import image, leftovers, processes
from tests.lab.commands import PATH, attempt, launch
from tests.lab.waiting import until

BOX = "box:1"
TAGS = ("rancher/agent:v1.0.2", "probe/agent:2")
"""Other names of the same image: the one of incident I5, and one that no rule's text names."""

START_S = 30.0
"""A cold start takes 0.3 to 2 s; restarting beside thousands of containers took up to 12."""
STOP_S = 20.0
COMMAND_S = 30.0
GRACE_S = 0.3
"""After SIGTERM the daemon asks its containers to end; those that did not by then are killed rather than waited for (10 s)."""


class DockerCommandError(Exception):
    """The docker command line failed; the message is what it printed."""


@dataclass(frozen=True, slots=True)
class Completed:
    """What a docker command gave."""

    code: int
    out: str
    err: str


class ScratchEngine:
    """One engine. Use it as an async context manager, or `start` and `stop` it.

    Its methods may be called from any event loop: nothing in it is bound to the one it was started on. `start` and `restart`
    belong on the main thread: the daemon ends with the thread that started it.

    Args:
        storage_driver: None leaves the choice to the daemon (overlay2 wherever we ran).
        data_root: where images and containers are kept; None: in the scratch folder. A given one is emptied at the end.
        flags: further ones for dockerd.
    """

    def __init__(self, *, storage_driver: str | None = None, data_root: Path | None = None, flags: tuple[str, ...] = ()) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix=leftovers.PREFIX))
        leftovers.claim(self.folder)
        self.data_root = data_root or self.folder / "data"
        self.exec_root = self.folder / "exec"
        self.socket = self.folder / "docker.sock"
        self.log_path = self.folder / "dockerd.log"
        self.storage_driver = storage_driver
        self.flags = flags
        self._daemon: subprocess.Popen[bytes] | None = None
        self._settings = self.folder / "daemon.json"
        # Named explicitly, so that this machine's /etc/docker/daemon.json is not read.
        self._settings.write_text("{}")

    async def __aenter__(self) -> Self:
        """Start; what a failed start left behind goes before the error does."""
        try:
            await self.start()
            await self.load_images()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop and leave nothing behind."""
        await self.close()

    @property
    def url(self) -> str:
        """For DOCKER_HOST."""
        return f"unix://{self.socket}"

    @property
    def environment(self) -> dict[str, str]:
        """What a docker command line needs to speak with this engine and no other, whoever runs it."""
        return {"PATH": PATH, "DOCKER_HOST": self.url, "DOCKER_CONFIG": str(self.folder / "cli"), "HOME": str(self.folder)}

    @property
    def running(self) -> bool:
        """True while the daemon's process lives, stopped by SIGSTOP or not."""
        return self._daemon is not None and self._daemon.poll() is None

    @property
    def pid(self) -> int:
        """Process id of dockerd."""
        if self._daemon is None:
            msg = "Docker was not started"
            raise RuntimeError(msg)
        return self._daemon.pid

    @property
    def containerd_socket(self) -> Path:
        """Where its containerd listens."""
        return self.exec_root / "containerd/containerd.sock"

    @property
    def containerd_pid(self) -> int:
        """Process id of the containerd that dockerd started."""
        return int((self.exec_root / "containerd/containerd.pid").read_text())

    # --- life ---

    def launch(self) -> None:
        """Start the daemon and do not wait for it."""
        # A stale pid file keeps dockerd from starting again, and a stale socket looks like a daemon that refuses.
        for stale in (self.folder / "docker.pid", self.socket):
            stale.unlink(missing_ok=True)
        command = ["dockerd", "--config-file", str(self._settings), "-H", self.url, "-p", str(self.folder / "docker.pid")]
        command += ["--data-root", str(self.data_root), "--exec-root", str(self.exec_root)]
        command += ["--bridge=none", "--iptables=false", "--ip6tables=false", *self.flags]
        if self.storage_driver:
            command += ["--storage-driver", self.storage_driver]
        with self.log_path.open("ab") as log:
            self._daemon = launch(*command, log=log, env=self.environment)

    async def start(self) -> None:
        """Start the daemon and wait until it answers.

        Raises:
            RuntimeError: it ended instead; the message holds the end of its log.
            TimeoutError: it does not answer.
        """
        leftovers.sweep(self.folder.parent)
        self.launch()
        await until(self._ready_or_ended, what=f"dockerd to answer on {self.socket}", within_s=START_S)

    async def _ready_or_ended(self) -> bool:
        if not self.running:
            msg = f"dockerd ended at once:\n{self.log()[-2000:]}"
            raise RuntimeError(msg)
        return self.socket.exists() and await self.answers()

    async def answers(self, within_s: float = 2.0) -> bool:
        """True when /_ping is answered in time."""
        return await self._http_status("/_ping", within_s) == HTTPStatus.OK

    async def has(self, container: str, within_s: float = 5.0) -> bool:
        """Whether it knows this container (full id); in 2 ms, where the command line takes 60. True also when it does not say."""
        return await self._http_status(f"/containers/{container}/json", within_s) != HTTPStatus.NOT_FOUND

    async def _http_status(self, path: str, within_s: float) -> int | None:
        """Status code of a GET; None when no answer came. Speaks HTTP by hand: a client's own quirks are none of its business."""
        with suppress(OSError, TimeoutError, IndexError, ValueError):
            async with asyncio.timeout(within_s):
                reader, writer = await asyncio.open_unix_connection(self.socket)
                try:
                    writer.write(f"GET {path} HTTP/1.0\r\nHost: docker\r\n\r\n".encode())
                    return int((await reader.readline()).split()[1])
                finally:
                    writer.close()
        return None

    async def stop(self) -> None:
        """Stop the daemon as `systemctl stop` would, containers and all; its data stays."""
        daemon = self._daemon
        if daemon is None:
            return
        self._resume()
        if daemon.poll() is None:
            daemon.terminate()
            patience = time.monotonic() + GRACE_S
            with suppress(TimeoutError):
                await until(lambda: self._ended(patience), what="dockerd to end", within_s=STOP_S)
        await self.kill()

    def _ended(self, patience: float) -> bool:
        if time.monotonic() > patience:
            leftovers.end_containers(self.containerd_socket)
        return not self.running

    async def kill(self) -> None:
        """End the daemon as a crash would (SIGKILL), its containerd, shims and containers too; its data and mounts stay."""
        daemon = self._daemon
        if daemon is None:
            return
        containerd = None
        with suppress(OSError, ValueError):
            containerd = self.containerd_pid
        daemon.kill()
        await until(lambda: daemon.poll() is not None, what="dockerd to be killed", within_s=STOP_S)
        if containerd is not None and str(self.exec_root) in " ".join(processes.argv(containerd)):
            processes.send(containerd, signal.SIGKILL)
            await until(lambda: not processes.alive(containerd), what="containerd to be killed", within_s=STOP_S)
        leftovers.end_containers(self.containerd_socket)
        leftovers.end_shims(self.containerd_socket)

    def _resume(self) -> None:
        """What a fault stopped with SIGSTOP has to go on, or it cannot end."""
        if self.running:
            processes.send(self.pid, signal.SIGCONT)
        with suppress(OSError, ValueError):
            containerd = self.containerd_pid
            if str(self.exec_root) in " ".join(processes.argv(containerd)):
                processes.send(containerd, signal.SIGCONT)

    async def restart(self, *, storage_driver: str | None = None) -> None:
        """Stop and start again, with another storage driver where one is given (it does not see the former one's containers)."""
        await self.stop()
        if storage_driver:
            self.storage_driver = storage_driver
        await self.start()

    async def close(self) -> None:
        """Stop, and leave nothing behind. May be called twice."""
        try:
            await self.stop()
        finally:
            leftovers.unmount_below(self.data_root)
            leftovers.delete(self.folder)
            if self.data_root.exists():
                leftovers.delete(self.data_root)

    # --- use ---

    async def docker(
        self, *arguments: str, check: bool = True, stdin: bytes | None = None, within_s: float = COMMAND_S
    ) -> Completed:
        """Run the docker command line.

        Raises:
            DockerCommandError: it failed, and `check` is true.
            TimeoutError: it did not end in time; it was killed.
        """
        done = Completed(*await attempt("docker", *arguments, stdin=stdin, within_s=within_s, env=self.environment))
        if check and done.code != 0:
            msg = f"docker {' '.join(arguments)}: {done.err or done.out} (exit {done.code})"
            raise DockerCommandError(msg)
        return done

    async def load_images(self) -> None:
        """Import the image and give it its other names. Needed once, and again under another storage driver."""
        await self.docker("import", "-", BOX, stdin=image.box())
        for tag in TAGS:
            await self.docker("tag", BOX, tag)

    async def create(
        self,
        *command: str,
        of: str = BOX,
        name: str | None = None,
        labels: dict[str, str] | None = None,
        options: tuple[str, ...] = (),
    ) -> str:
        """Create a container without a network and return its full id. `options` are those of `docker create`."""
        return (await self.docker("create", *self._options(name, labels), *options, of, *command)).out

    async def run(
        self,
        *command: str,
        of: str = BOX,
        name: str | None = None,
        labels: dict[str, str] | None = None,
        options: tuple[str, ...] = (),
    ) -> str:
        """Create and start a container without a network and return its full id. `options` are those of `docker run`."""
        return (await self.docker("run", "--detach", *self._options(name, labels), *options, of, *command)).out

    def _options(self, name: str | None, labels: dict[str, str] | None) -> list[str]:
        options = ["--network", "none"]
        if name:
            options += ["--name", name]
        for key, value in (labels or {}).items():
            options += ["--label", f"{key}={value}"]
        return options

    async def inspect(self, container: str) -> dict[str, Any] | None:
        """What inspect tells of a container; None when there is none such."""
        done = await self.docker("container", "inspect", container, check=False)
        if done.code != 0:
            if "No such container" in done.err:
                return None
            raise DockerCommandError(done.err)
        found: list[dict[str, Any]] = json.loads(done.out)
        return found[0]

    async def status(self, container: str) -> str | None:
        """Its State.Status as inspect tells it (a list says `removing` of a dead one); None when it is gone."""
        found = await self.inspect(container)
        return None if found is None else str(found["State"]["Status"])

    async def containers(self) -> list[str]:
        """Full ids of all containers, running or not."""
        return (await self.docker("ps", "--all", "--quiet", "--no-trunc")).out.split()

    async def clear(self) -> None:
        """Remove all containers by force."""
        ids = await self.containers()
        if ids:
            await self.docker("rm", "--force", "--volumes", *ids)

    async def upper_dir(self, container: str) -> Path:
        """Where the storage driver keeps what the container writes (overlay2: UpperDir)."""
        found = await self.inspect(container)
        if found is None:
            msg = f"no container {container}"
            raise LookupError(msg)
        return Path(found["GraphDriver"]["Data"]["UpperDir"])

    def log(self) -> str:
        """All that dockerd said."""
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""
