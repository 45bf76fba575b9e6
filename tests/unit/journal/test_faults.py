"""Real faults: the process killed in the middle of commits, the disk full, the file damaged."""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from engine.errors import JournalError
from engine.journal import Batch, Journal, JournalReader
from engine.ports.broker import OutboxRow
from tests.clocks import SYSTEM

CHILDREN = Path(__file__).parent / "children"
ROOT = Path(__file__).parents[3]


def test_kill_9_in_the_middle_of_commits_loses_nothing_and_tears_nothing(path: Path) -> None:
    """Twelve times killed while committing: what was confirmed is there, and every part of the last batch or none of it."""
    random_moment = random.Random(20261120)
    confirmed = 0
    for _ in range(12):
        with subprocess.Popen(
            [sys.executable, CHILDREN / "committer.py", path], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT
        ) as child:
            assert child.stdout is not None
            assert child.stderr is not None
            for _ in range(random_moment.randrange(3, 40)):
                line = child.stdout.readline()
                assert line, child.stderr.read()
                confirmed = int(line)
            child.kill()
            # What stood in the pipe when it died was confirmed as well.
            for line in child.stdout:
                if line.endswith("\n"):
                    confirmed = int(line)
        with Journal.open(path, now=SYSTEM.wall()) as journal:
            state = journal.load()
            assert state.recovered is None
            last = int(state.cursors["source"])
            assert last >= confirmed
            assert state.core == {("section", str(n % 7)): str(n) for n in range(max(0, last - 6), last + 1)}
            assert [row.payload for row in journal.outbox(10_000)] == [b"%d" % n for n in range(last + 1)]
            assert [entry.at for entry in journal.audit(limit=10_000)] == list(range(last + 1))


def test_a_full_disk_is_an_error_and_the_journal_goes_on_when_there_is_room(tmp_path: Path) -> None:
    """On a real full file system: JournalError, nothing half written, everything readable; later commits succeed."""
    folder = tmp_path / "disk"
    folder.mkdir()
    # A mount namespace of its own: the small file system is seen by this child alone and goes with it.
    unshare = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--mount", "--map-root-user"]
    done = subprocess.run(
        [
            *unshare,
            "sh",
            "-c",
            'mount -t tmpfs -o size=2m tmpfs "$1" && exec "$2" "$3" "$1"',
            "sh",
            folder,
            sys.executable,
            CHILDREN / "full_disk.py",
        ],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert f"{folder} is full" in told["error"]
    assert told["core_after_error"] == told["core_before_error"] > 10
    assert told["committed_when_there_was_room"] is True
    assert told["outbox_rows"] == 1
    assert told["recovered"] is None
    assert told["open_on_a_full_disk"] == "opened"


def test_a_file_of_rubbish_is_moved_aside(path: Path) -> None:
    """Something that is no database: kept under another name, said, and a fresh journal works."""
    path.parent.mkdir()
    path.write_bytes(b"rubbish " * 1000)
    with Journal.open(path, now=1_764_633_600_000_000) as journal:
        assert journal.recovered is not None
        assert "file is not a database" in journal.recovered
        assert journal.load().recovered == journal.recovered
        journal.commit(Batch(memory={"a": "1"}))
    assert path.with_name("journal.db.damaged-20251202T000000.000000Z").read_bytes() == b"rubbish " * 1000
    with Journal.open(path, now=SYSTEM.wall()) as journal:
        assert journal.load().memory == {"a": "1"}
        assert journal.recovered is None


def test_a_page_overwritten_in_the_middle_is_noticed(path: Path) -> None:
    """Damage inside a well-formed file is found when it is opened, not when it is too late."""
    with Journal.open(path, now=0) as journal:
        journal.commit(Batch(core_puts={("fact", f"key {n}"): "x" * 500 for n in range(2000)}))
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        file.write(b"\xa5" * 16_384)
    with Journal.open(path, now=0) as journal:
        assert journal.recovered is not None
        assert journal.load().core == {}


@pytest.mark.parametrize("keep", [1, 100, 4096, 5000])
def test_a_truncated_file_is_noticed(path: Path, keep: int) -> None:
    """A file cut short, at a page or within one, is moved aside."""
    with Journal.open(path, now=0) as journal:
        journal.commit(Batch(core_puts={("fact", f"key {n}"): "x" * 500 for n in range(100)}))
    with path.open("r+b") as file:
        file.truncate(keep)
    with Journal.open(path, now=0) as journal:
        assert journal.recovered is not None


def test_rubbish_at_the_end_of_the_log_costs_what_was_not_confirmed_only(path: Path, tmp_path: Path) -> None:
    """The write-ahead log has check sums: a torn end (power failure) is left out, what came before is kept."""
    with Journal.open(path, now=0) as journal:
        journal.commit(Batch(memory={"a": "1"}))
        # As the disk would look had the power failed now.
        copied = tmp_path / "copy.db"
        copied.write_bytes(path.read_bytes())
        copied.with_name("copy.db-wal").write_bytes(path.with_name("journal.db-wal").read_bytes() + os.urandom(5000))
    with Journal.open(copied, now=SYSTEM.wall()) as journal:
        assert journal.recovered is None
        assert journal.load().memory == {"a": "1"}


def test_damaged_files_do_not_pile_up(path: Path) -> None:
    """The last three are kept for a person to look at."""
    path.parent.mkdir()
    for moment in range(6):
        path.write_bytes(b"rubbish %d" % moment)
        Journal.open(path, now=moment * 1_000_000).close()
    kept = sorted(path.parent.glob("journal.db.damaged-*"))
    assert [file.read_bytes() for file in kept] == [b"rubbish 3", b"rubbish 4", b"rubbish 5"]


def test_damage_while_it_runs_is_an_error_that_a_restart_mends(path: Path) -> None:
    """A disk that rots under the running sidecar: JournalError from the commit, and a fresh journal after opening anew."""
    with Journal.open(path, now=0) as journal:
        journal.commit(Batch(core_puts={("fact", f"key {n}"): "x" * 1000 for n in range(10_000)}))
    with Journal.open(path, now=0) as journal:
        # Five times more than SQLite's page cache (2,000 KiB) holds: it has to read the file again.
        with path.open("r+b") as file:
            file.seek(4096)
            file.write(b"\xa5" * (path.stat().st_size - 4096))
        with pytest.raises(JournalError):
            journal.commit(Batch(core_puts={("fact", f"key {n}"): "y" for n in range(10_000)}))
    with Journal.open(path, now=0) as journal:
        assert journal.recovered is not None
        journal.commit(Batch(outbox=[OutboxRow(topic="t", payload=b"", kind="alert")]))


@pytest.mark.parametrize("what", ["folder is a file", "journal is a folder"])
def test_a_place_that_cannot_be_used_is_named(tmp_path: Path, what: str) -> None:
    """The error names the path; no lock is left behind."""
    path = tmp_path / "state" / "journal.db"
    if what == "folder is a file":
        path.parent.write_text("")
    else:
        path.mkdir(parents=True)
    for _ in range(2):
        with pytest.raises(JournalError, match="state"):
            Journal.open(path, now=SYSTEM.wall())


def test_a_reader_of_rubbish_gets_an_error(path: Path) -> None:
    """`explain` on a damaged journal ends with a sentence."""
    path.parent.mkdir()
    path.write_bytes(b"rubbish " * 1000)
    with JournalReader(path) as reader, pytest.raises(JournalError, match="not a database"):
        reader.audit()
