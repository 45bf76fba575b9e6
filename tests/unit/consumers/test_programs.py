"""The command lines: what operators see and do."""

import json
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from connectors.consumers.notes import Note
from connectors.consumers.programs import program_app
from connectors.consumers.records import Changes
from connectors.consumers.store import Store
from tests.unit.consumers.build import alert


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A configuration whose receiver has one note that waits and one dead letter."""
    (tmp_path / "key").write_text("T0P-S3CRET\n")
    content = {
        "broker": {"url": "mqtt://127.0.0.1:1"},
        "state": str(tmp_path / "state"),
        "receivers": {"oncall": {"type": "pagerduty", "routing_key_file": str(tmp_path / "key")}},
        "routes": [{"receivers": ["oncall"]}],
    }
    path = tmp_path / "pager.yaml"
    path.write_text(yaml.safe_dump(content))
    with Store(tmp_path / "state/queues.sqlite", max_rows=10, max_bytes=1_000_000) as store:
        notes = [("oncall", Note("first", key, alert(key=key).data)) for key in ("c1", "c2")]
        store.commit(Changes(notes=notes), 0.0)
        row = store.head("oncall")
        assert row is not None
        store.refused(row, "HTTP 400: no", 60.0)
    return path


def _run(*arguments: str, code: int = 0) -> str:
    done = CliRunner().invoke(program_app("pager"), arguments)
    assert done.exit_code == code, done.output
    assert "T0P-S3CRET" not in done.output
    return done.output


def test_check_finds_nothing_wrong_or_says_what(file: Path) -> None:
    """A file with a secret that is missing is a fault; a configuration that cannot be read is 2."""
    _run("check", "--config", str(file))
    (file.parent / "key").unlink()
    assert "receivers.oncall.routing_key_file: cannot read" in _run("check", "--config", str(file), code=1)
    assert "name the file with --config" in _run("check", "--config", str(file.parent / "none.yaml"), code=2)


def test_status_says_how_each_receiver_stands(file: Path) -> None:
    """For people and for tools; 1 while something is dead."""
    text = _run("status", "--config", str(file), code=1)
    assert "broker: never connected" in text
    assert "oncall: 0 delivered, 1 waiting (oldest 1970-01-01 00:00:00 UTC" in text
    assert "1 dead letters" in text
    (state,) = json.loads(_run("status", "--config", str(file), "--format", "json", code=1))["receivers"]
    assert (state["name"], state["waiting"], state["dead"]) == ("oncall", 1, 1)


def test_dead_letters_are_shown_put_back_and_dropped(file: Path) -> None:
    """With number, reason and line."""
    text = _run("dead-letters", "--config", str(file), code=1)
    assert "HTTP 400: no" in text
    assert "[ERROR] A container dies and is started again and again | web-7 | c1" in text
    letter = json.loads(_run("dead-letters", "--config", str(file), "--format", "json", code=1))
    assert _run("retry", "--config", str(file)) == "1 put back\n"
    assert _run("dead-letters", "--config", str(file)) == ""
    assert _run("drop", str(letter["id"]), "--config", str(file), code=1) == "0 thrown away\n"
