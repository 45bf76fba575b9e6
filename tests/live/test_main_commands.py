"""An operator commands a running sidecar with the program that is for it, over a real broker."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.lab.broker import ScratchBroker
from tests.lab.engine import ScratchEngine
from tests.lab.sidecar import PROGRAM, Sidecar
from tests.lab.waiting import until
from tests.live.conftest import Watch

pytestmark = pytest.mark.live


class Operator:
    """Kim, with a key, and a host that knows it."""

    def __init__(self, folder: Path, host: str) -> None:
        self.host = host
        self.keys = folder / "operators"
        self.keys.mkdir(mode=0o700)
        self.mine = folder / "kim.key"
        done = subprocess.run((PROGRAM, "operator-key", self.mine), capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode == 0, done.stderr
        self.admit()

    @property
    def environment(self) -> dict[str, str]:
        """Of a sidecar that takes commands."""
        return {"MQTT__COMMANDS": "true", "MQTT__COMMAND_KEYS": str(self.keys)}

    def admit(self) -> None:
        """Put the key on the host."""
        file = self.keys / "kim.key"
        file.write_text(self.mine.read_text())
        file.chmod(0o600)

    def command(self, *arguments: str) -> tuple[int, dict[str, Any]]:
        """Run the program; its exit code and what it printed."""
        command = [str(PROGRAM), "command", *arguments, "--key-file", str(self.mine), "--host", self.host]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert "Traceback" not in done.stderr
        return done.returncode, json.loads(done.stdout) if done.stdout else {"error": done.stderr}


async def test_commands_reach_the_sidecar_signed_and_are_answered(
    engine: ScratchEngine, broker: ScratchBroker, watch: Watch, host: str, tmp_path: Path
) -> None:
    """Freeze, one action alone, unfreeze, a silence, a question that has no answer, and a key that was taken away."""
    operator = Operator(tmp_path, host)
    url = ("--url", broker.url)
    async with watch(engine, **operator.environment) as seen:
        code, reply = operator.command("freeze", *url)
        assert (code, reply["ok"], reply["frozen"]) == (0, True, True)
        assert (seen.sidecar.state / "freeze").exists()
        assert operator.command("freeze", "--action", "unmount", *url)[1]["frozen"] == "unmount"
        code, reply = operator.command("unfreeze", *url)
        assert (code, reply["frozen"]) == (0, False)
        code, reply = operator.command("silence", "--rule", "no-such-rule", *url)
        assert code == 1
        assert "no-such-rule" in reply["error"]
        (operator.keys / "kim.key").unlink()
        code, reply = operator.command("freeze", "--timeout", "2", *url)
        assert code == 2
        assert "no answer" in reply["error"]
        assert not (seen.sidecar.state / "freeze").exists()


async def test_an_embedded_broker_takes_commands_from_root_of_the_same_host(
    engine: ScratchEngine, broker: ScratchBroker, host: str, tmp_path: Path
) -> None:
    """Nothing has to be named but the state folder."""
    operator = Operator(tmp_path, host)
    variables = {f"DOCKWARDEN_{name}": value for name, value in operator.environment.items()}
    async with Sidecar(engine, broker, host=host, environment={**variables, "DOCKWARDEN_MQTT_URL": ""}) as sidecar:
        await until(lambda: "listen" in sidecar.output, what="the sidecar with its embedded broker")
        code, reply = operator.command("freeze", "--state", str(sidecar.state))
        assert (code, reply.get("frozen")) == (0, True), reply
        assert (sidecar.state / "freeze").exists()
