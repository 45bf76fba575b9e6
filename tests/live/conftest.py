"""What live tests may ask for."""

import re
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path

import pytest

from tests.lab import sidecar as sidecars
from tests.lab.broker import ScratchBroker
from tests.lab.subscriber import Subscriber
from tests.lab.watched import Watched, watched

Watch = Callable[..., AbstractAsyncContextManager[Watched]]


@pytest.fixture(scope="session")
def broker() -> Iterator[ScratchBroker]:
    """One broker for all tests that do not break it."""
    with ScratchBroker() as running:
        yield running


@pytest.fixture(scope="session")
def subscriber(broker: ScratchBroker) -> Iterator[Subscriber]:
    """Hears everything that is said there."""
    with Subscriber(broker.url) as listening:
        yield listening


@pytest.fixture
def host(request: pytest.FixtureRequest) -> str:
    """The sidecar's name in topics, another one for each test."""
    return re.sub(r"[^a-z0-9]+", "-", request.node.nodeid.rpartition("::test_")[2].lower())


@pytest.fixture
def watch(broker: ScratchBroker, subscriber: Subscriber, host: str) -> Watch:
    """A sidecar on a Docker daemon, received by the subscriber: enter what it returns."""
    return partial(watched, broker=broker, subscriber=subscriber, host=host)


@pytest.fixture
def fake_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program in place of dockwarden: says it is up, writes down that it was stopped, and goes on until then."""
    program = tmp_path / "dockwarden"
    program.write_text(
        f"""#!{sys.executable}
import json, os, pathlib, signal, sys, time
from urllib.parse import urlsplit
from paho.mqtt.publish import single
state = pathlib.Path(os.environ["DOCKWARDEN_STATE"])
state.mkdir(exist_ok=True)
def end(*_):
    (state / "stopped").touch()
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
print("arguments", sys.argv[1:], os.environ["DOCKER_HOST"], os.environ["DOCKWARDEN_MODE"], flush=True)
topic = "dockwarden/" + os.environ["DOCKWARDEN_HOST"] + "/status"
payload = json.dumps(dict(data=dict(state="online", seen=(state / "stopped").exists())))
single(topic, payload, qos=1, retain=True, hostname="127.0.0.1", port=urlsplit(os.environ["DOCKWARDEN_MQTT_URL"]).port)
if "fail" in os.environ:
    sys.exit("settings are unreadable")
while True:
    time.sleep(0.05)
"""
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(sidecars, "PROGRAM", program)
    return program
