"""Logs: text for people, JSON for machines, and never the reason why something ends."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal

import pytest
import structlog

from engine.logging import set_up

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def as_before() -> Any:
    """Leave the logs as they were."""
    yield
    structlog.reset_defaults()


def logged(monkeypatch: pytest.MonkeyPatch, form: Literal["text", "json"], **fields: Any) -> str:
    """What one line looks like."""
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    set_up(form)
    structlog.get_logger("test").warning("alert", **fields)
    return stream.getvalue()


def test_machines_get_one_json_object_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """With level and time, and any text escaped."""
    line = logged(monkeypatch, "json", name="a\nb\x1b[2J\ud800")
    event = json.loads(line)
    assert (event["event"], event["level"], event["name"]) == ("alert", "warning", "a\nb\x1b[2J\ud800")
    assert line.count("\n") == 1


def test_nothing_in_a_name_reaches_the_terminal_as_a_command(monkeypatch: pytest.MonkeyPatch) -> None:
    """A container may be called whatever somebody likes: escape sequences are shown, not obeyed."""
    line = logged(monkeypatch, "text", name="\x1b[2J\x07", text="two\nlines")
    assert "\x1b" not in line
    assert "\x07" not in line
    assert line.count("\n") == 1
    assert "\\x1b[2J" in line


def test_an_exception_is_in_the_log_in_either_form(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was not foreseen is found by its traceback."""
    for form in ("text", "json"):
        assert "oops" in logged(monkeypatch, form, exc_info=KeyError("oops"))


def test_a_log_on_a_full_disk_stops_nothing() -> None:
    """/dev/full refuses every write, as a full disk does: the process goes on, and ends with its own exit code."""
    program = """
import logging
import structlog
from engine.logging import set_up
set_up("text")
for _ in range(3):
    structlog.get_logger("test").warning("alert", name="x" * 100_000)
    logging.getLogger("library").warning("of a library")
print("went on")
"""
    # Unbuffered output would hide the fault: whoever runs the tests may have set that.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-c", program],
            stdout=subprocess.PIPE,
            stderr=full,
            timeout=60,
            check=False,
            cwd=ROOT,
            env=environment,
        )
    assert (done.returncode, done.stdout) == (0, b"went on\n")


UNREAD = """
import sys, time
import structlog
from engine.logging import set_up
set_up("json", background=True)
log = structlog.get_logger()
for number in range(60_000):
    log.warning("alert", text="x" * 200)
sys.stdout.write("went on\\n")
sys.stdout.flush()
sys.stdin.readline()
log.warning("last")
time.sleep(0)
"""


def test_a_log_that_nobody_reads_stops_nothing_and_what_is_dropped_is_counted() -> None:
    """A pipe that is full blocks the thread that writes, and nothing else; once it is read, the log says what is missing."""
    with subprocess.Popen(
        [sys.executable, "-c", UNREAD], cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "went on\n"
        lines: list[str] = []
        while not lines or "log_lines_dropped" not in lines[-1]:
            lines.append(process.stderr.readline())
        event = json.loads(lines[-1])
        assert event["lines"] + len(lines) - 1 == 60_000
        assert 10_000 < len(lines) < 30_000
        process.stdin.write("\n")
        process.stdin.flush()
        assert "last" in process.stderr.read()
    assert process.returncode == 0


def test_the_end_does_not_wait_for_who_never_reads() -> None:
    """The process ends with its own exit code although its log is full."""
    program = UNREAD.replace("sys.stdin.readline()", "sys.exit(3)")
    with subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.wait(30) == 3
