"""Runs `dockwarden run` as a process of its own, as an operator would, and looks at it from outside."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Self

from tests.lab import leftovers, processes
from tests.lab.broker import ScratchBroker
from tests.lab.commands import PATH, attempt, launch
from tests.lab.engine import ScratchEngine
from tests.lab.nats import NatsCluster
from tests.lab.subscriber import Received, Subscriber
from tests.lab.waiting import until

PROGRAM = Path(sys.executable).parent / "dockwarden"
"""Where set-up leaves it: beside the interpreter of the environment."""
READY_S = 40.0
STOP_S = 15.0
"""A stop drains the outbox and waits for actions under way; after that it is a fault."""


class Sidecar:
    """One sidecar, on a scratch engine and a scratch broker, with state of its own that outlives its restarts.

    Args:
        engine: what it watches; its log is the dockerd log.
        broker: where it publishes.
        host: its name in topics.
        act: mode act; False: observe.
        rules: rules folder; None: the shipped ones.
        config: settings file.
        environment: further variables, and other values of those that are set here.
        prefix: what stands before its command line (a namespace to enter, say).
        arguments: further ones for `run`.
    """

    def __init__(
        self,
        engine: ScratchEngine,
        broker: ScratchBroker | NatsCluster,
        *,
        host: str = "lab",
        act: bool = True,
        rules: Path | None = None,
        config: Path | None = None,
        environment: dict[str, str] | None = None,
        prefix: tuple[str, ...] = (),
        arguments: tuple[str, ...] = (),
    ) -> None:
        self.host = host
        self.folder = Path(tempfile.mkdtemp(prefix=leftovers.PREFIX))
        leftovers.claim(self.folder)
        self.state = self.folder / "state"
        self.log_path = self.folder / "sidecar.log"
        self.started_at = 0.0
        """time.monotonic() of the last start."""
        self.environment = {
            "PATH": PATH,
            "HOME": str(self.folder),
            "LANG": "C.UTF-8",
            "DOCKER_HOST": engine.url,
            "DOCKWARDEN_MQTT_URL": broker.url,
            "DOCKWARDEN_HOST": host,
            "DOCKWARDEN_MODE": "act" if act else "observe",
            "DOCKWARDEN_DOCKERD_LOG": str(engine.log_path),
            "DOCKWARDEN_KERNEL_LOG": "off",
            "DOCKWARDEN_KUBELET_LOG": "off",
            "DOCKWARDEN_STATE": str(self.state),
            "DOCKWARDEN_METRICS_LISTEN": "off",
            **(environment or {}),
        }
        self._command = [*prefix, str(PROGRAM), "run"]
        if config is not None:
            self._command += ["--config", str(config)]
        if rules is not None:
            self._command += ["--rules", str(rules)]
        self._command += arguments
        self._process: subprocess.Popen[bytes] | None = None

    async def __aenter__(self) -> Self:
        """Start it; `ready` tells when it works."""
        self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        """End it however, and delete its state."""
        await self.close()

    @property
    def running(self) -> bool:
        """True while its process lives."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """Its process id."""
        if self._process is None:
            msg = "the sidecar was not started"
            raise RuntimeError(msg)
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """What it ended with; None while it runs. Negative: the signal that ended it."""
        return None if self._process is None else self._process.poll()

    @property
    def output(self) -> str:
        """All that it wrote, over all its starts."""
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def start(self) -> None:
        """Start it and do not wait. Its state is that of its last run."""
        self.started_at = time.monotonic()
        with self.log_path.open("ab") as log:
            self._process = launch(*self._command, log=log, env=self.environment)

    async def ready(self, subscriber: Subscriber, *, within_s: float = READY_S) -> Received:
        """Await its retained status, said since its last start, that is not `offline`.

        Raises:
            RuntimeError: it ended instead; the message holds the end of its output.
            TimeoutError: it did not say so in time; the message too.
        """

        def said() -> list[Received]:
            if not self.running:
                msg = f"the sidecar ended with {self.exit_code}:\n{self.output[-4000:]}"
                raise RuntimeError(msg)
            return subscriber.all(f"dockwarden/{self.host}/status", _is_up, since=self.started_at)

        try:
            return (await until(said, what="the sidecar's status", within_s=within_s))[-1]
        except TimeoutError as error:
            msg = f"{error}; its output:\n{self.output[-4000:]}"
            raise TimeoutError(msg) from error

    async def stop(self) -> int:
        """Stop it as an operator would (SIGTERM), and return its exit code.

        Raises:
            TimeoutError: it did not end in time; it was killed.
        """
        self._signal(signal.SIGTERM)
        try:
            await until(lambda: not self.running, what="the sidecar to end after SIGTERM", within_s=STOP_S)
        except TimeoutError:
            await self.kill()
            raise
        return self.exit_code or 0

    async def kill(self) -> None:
        """End it without a chance to do anything (SIGKILL)."""
        self._signal(signal.SIGKILL)
        await until(lambda: not self.running, what="the sidecar to be killed")

    async def restart(self) -> None:
        """Stop it in order and start it with the same state."""
        await self.stop()
        self.start()

    def _signal(self, what: signal.Signals) -> None:
        if self.running:
            processes.send(self.pid, what)

    async def close(self) -> None:
        """End it however, and delete its state. May be called twice."""
        try:
            if self.running:
                await self.stop()
        finally:
            await asyncio.to_thread(shutil.rmtree, self.folder, ignore_errors=True)

    async def ask(self, *arguments: str, within_s: float = 20.0) -> tuple[int, str, str]:
        """Run another verb of the command line (`status`, `explain`, …) beside it: exit code, output, complaint."""
        return await attempt(str(PROGRAM), *arguments, env={**os.environ, **self.environment}, within_s=within_s)


def _is_up(received: Received) -> bool:
    state = received.data.get("state", received.event.get("state"))
    return isinstance(state, str) and state not in ("offline", "starting", "stopping")
