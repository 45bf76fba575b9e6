"""examples/config.yaml holds every setting with its default, and says so truly."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from engine.guardrails import ActionLimits
from engine.settings import Settings, load_settings

ROOT = Path(__file__).parents[2]
FILE = ROOT / "examples/config.yaml"


@pytest.fixture(autouse=True)
def _no_settings_around(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DOCKER_HOST", "DOCKWARDEN_MODE", "DOCKWARDEN_MQTT_URL", "DOCKWARDEN_STATE", "DOCKWARDEN_RULES"):
        monkeypatch.delenv(name, raising=False)


def test_it_is_what_the_settings_say() -> None:
    """A setting that was added, changed or described anew is in the file."""
    command = [sys.executable, str(ROOT / "scripts/example-config"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr


def test_its_values_are_the_defaults() -> None:
    """Loaded as it stands, it changes nothing (but spells out the limits of one action, with their defaults)."""
    loaded = load_settings(FILE)
    assert loaded.policy.actions == {"remove_container": ActionLimits()}
    assert loaded.model_copy(update={"policy": Settings().policy}) == load_settings(None)


def test_every_line_that_is_commented_out_can_be_used(tmp_path: Path) -> None:
    """With the marks before names taken away it still loads."""
    everything = tmp_path / "config.yaml"
    text = re.sub(r"^( *)#(host|state):$", r"\1\2: /tmp-like", FILE.read_text(), flags=re.MULTILINE)
    text = text.replace("host: /tmp-like", "host: web-7", 1)
    everything.write_text(re.sub(r"^( *)#([a-z])", r"\1\2", text, flags=re.MULTILINE))
    loaded = load_settings(everything)
    assert loaded.host == "web-7"
    assert loaded.mqtt.password_file is None
