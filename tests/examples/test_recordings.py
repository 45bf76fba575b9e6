"""The recording of a real engine replays to what is written beside it, by the command line that users type."""

import json
import subprocess
from pathlib import Path

from engine.rules.reader import read_rules
from tests.lab.sidecar import PROGRAM

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "examples/recordings"
RECORDING = FOLDER / "held-deletion-and-storm.jsonl"
EXPECTED = FOLDER / "held-deletion-and-storm.expected.jsonl"
"""Of a deliberate change of these rules: `python -m tests.examples.test_recordings` writes it anew; read the difference."""
INCIDENTS = ("i01-dead-containers.yaml", "i04-held-mounts.yaml", "i05-container-storm.yaml")
"""The rules that the recording is about; others may notice more on it."""


def _replay(rules: Path) -> str:
    command = [str(PROGRAM), "replay", str(RECORDING), "--rules", str(rules), "--format", "json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def decided() -> str:
    """What the rules of these incidents decide on the recording, as JSON lines."""
    ruleset = read_rules(ROOT / "rules").ruleset
    assert ruleset is not None
    wanted = {rule.id for rule in ruleset.rules if rule.position.file.endswith(INCIDENTS)}
    lines = _replay(ROOT / "rules").splitlines(keepends=True)
    return "".join(line for line in lines if json.loads(line)["rule"] in wanted)


def test_the_recording_replays_to_what_is_written() -> None:
    """Same facts in, same decisions out, line for line."""
    assert decided() == EXPECTED.read_text()


def test_the_recording_shows_what_its_description_says() -> None:
    """The dead container and its holder are alerts that fire and resolve; the storm is critical."""
    said = [json.loads(line) for line in EXPECTED.read_text().splitlines()]
    alerts = [(one["rule"], one["status"]) for one in said if one["does"] == "alert"]
    for rule in ("dead-container", "held-mounts"):
        assert (rule, "firing") in alerts
        assert (rule, "resolved") in alerts
    assert ("container-storm", "firing") in alerts
    assert {one["action"] for one in said if one["does"] == "action"} == {"inspect_mounts", "unmount", "remove_container"}


def test_nothing_of_the_recording_machine_is_in_it() -> None:
    """Scratch folders are written in general terms."""
    assert "/tmp" not in RECORDING.read_text()


if __name__ == "__main__":
    EXPECTED.write_text(decided())
