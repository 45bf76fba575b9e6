"""The journal's own recording: written by the way, bounded, readable from a moment on."""

import json
from pathlib import Path

import pytest

from engine.facts import Retraction
from engine.facts.timestamps import SECOND, from_micros
from engine.journal import fact_log
from engine.journal.fact_log import WAITING_FACTS, FactLog, recorded_lines
from tests.unit.pipeline.loop import container


def _ids(folder: Path, since: int = 0) -> list[str]:
    return [json.loads(line)["id"] for line in recorded_lines(folder, since)]


def test_what_is_written_can_be_read(tmp_path: Path) -> None:
    """Facts and retractions, in order, by nobody but the owner, also after a restart."""
    for start in (0, 2):
        log = FactLog(tmp_path / "r", 64 << 20)
        for number in (start, start + 1):
            log.add(container(number))
        log.add(Retraction(retract="container", key="x", at=from_micros(SECOND)))
        log.write()
    lines = [json.loads(line) for line in recorded_lines(tmp_path / "r", 0)]
    assert [line.get("id") or line["retract"] for line in lines] == [
        *(container(0).id, container(1).id, "container"),
        *(container(2).id, container(3).id, "container"),
    ]
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "r").iterdir()} == {0o600}
    assert (tmp_path / "r").stat().st_mode & 0o777 == 0o700


def test_it_keeps_within_its_bytes_and_loses_the_oldest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Segments are compressed when they are full; the oldest ones go, whole."""
    monkeypatch.setattr(fact_log, "SEGMENT_BYTES", 10_000)
    log = FactLog(tmp_path, 30_000)
    for number in range(3_000):
        log.add(container(number, at=from_micros((number + 1) * SECOND)))
        if number % 50 == 0:
            log.write()
    log.write()
    total = sum(path.stat().st_size for path in tmp_path.iterdir())
    assert 10_000 < total <= 40_000
    ids = _ids(tmp_path)
    assert ids == [container(number).id for number in range(3_000 - len(ids), 3_000)]
    assert len(ids) > 100
    late = _ids(tmp_path, since=2_990 * SECOND)
    assert ids[-len(late) :] == late
    assert 10 <= len(late) < len(ids)


def test_a_disk_that_refuses_costs_the_recording_only(tmp_path: Path) -> None:
    """Nothing is raised, what waits is bounded, and it goes on when the disk is back."""
    (tmp_path / "r").write_text("in the way")
    log = FactLog(tmp_path / "r", 64 << 20)
    for number in range(WAITING_FACTS + 10):
        log.add(container(number % 100))
    assert len(log._waiting) == WAITING_FACTS
    log.write()
    problem = log.problem
    assert problem
    (tmp_path / "r").unlink()
    log.add(container(7))
    log.write()
    assert (log.problem, _ids(tmp_path / "r")) == (None, [container(7).id])


def test_a_burst_shares_a_write(tmp_path: Path) -> None:
    """Once a second, and not at all when nothing waits."""
    log = FactLog(tmp_path, 64 << 20)
    assert not log.due(0.0)
    log.add(container(1))
    assert log.due(0.0)
    assert not log.due(0.9)
    assert log.due(1.0)
