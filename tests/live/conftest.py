"""What live tests may ask for."""

import stat
import sys
from pathlib import Path

import pytest

from tests.lab import sidecar as sidecars


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
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
