"""connectors.logs.follower: one log file by name, whatever becomes of it."""

import errno
import os
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from connectors.logs import follower as follower_module
from connectors.logs.follower import Follower, advice
from connectors.sources.status import SourceStatus

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


class Reader:
    """A follower, driven by hand."""

    def __init__(self, path: Path, cursor: str | None = None) -> None:
        self.health = SourceStatus("log")
        self.follower = Follower(str(path), self.health)
        self.follower.begin(cursor, NOW)
        self.labels: list[str] = []

    def lines(self, now: datetime = NOW) -> list[str]:
        """All there is to read now."""
        found: list[str] = []
        while True:
            lines = self.follower.read(now)
            if lines is None:
                lines = self.follower.look(now)
            if lines is None:
                return found
            found += [raw.decode() for _, raw in lines]
            self.labels += [place.label for place, _ in lines]

    @property
    def cursor(self) -> str:
        """Where it stands."""
        place = self.follower.place()
        assert place is not None
        return place.to_cursor()

    def stop(self) -> str:
        """Close it; its cursor."""
        cursor = self.cursor
        self.follower.close()
        return cursor


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A log with a past."""
    file = tmp_path / "daemon.log"
    file.write_text("12:00:00 past\n")
    return file


@pytest.fixture
def reader(path: Path) -> Iterator[Reader]:
    """A reader that was started on it without a cursor."""
    reader = Reader(path)
    yield reader
    reader.follower.close()


def _descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def _status(reader: Reader) -> str | None:
    return reader.health.status


def append(path: Path, text: str) -> None:
    """Write at the end, as a daemon does."""
    with path.open("a") as file:
        file.write(text)


def test_begins_at_the_end(path: Path, reader: Reader) -> None:
    """The past is not read; what comes is, line by line."""
    assert reader.lines() == []
    append(path, "a\nb\n")
    assert reader.lines() == ["a", "b"]
    assert reader.lines() == []


def test_line_in_two_pieces(path: Path, reader: Reader) -> None:
    """A line whose end was not written yet waits for it, and is one line."""
    append(path, "first ha")
    assert reader.lines() == []
    append(path, "lf\n")
    assert reader.lines() == ["first half"]


def test_unfinished_line_of_the_past(path: Path) -> None:
    """A line that was half written when reading began is a new line: it is read whole."""
    append(path, "half ")
    reader = Reader(path)
    append(path, "whole\n")
    assert reader.lines() == ["half whole"]
    reader.stop()


def test_renamed_and_created(path: Path, reader: Reader) -> None:
    """The old file is read to its end, also what the writer adds before it reopens; then the new one from its beginning."""
    append(path, "1\n")
    assert reader.lines() == ["1"]
    old = path.rename(path.with_suffix(".log.1"))
    assert reader.lines() == []
    append(old, "2\n")
    path.touch()
    assert reader.lines() == ["2"]
    append(old, "3\nlast without newline")
    append(path, "4\n")
    assert reader.lines() == ["3", "last without newline", "4"]
    append(path, "5\n")
    assert reader.lines() == ["5"]


def test_two_rotations_between_two_looks(path: Path, reader: Reader) -> None:
    """A file that came and went between two looks is read, in its turn."""
    append(path, "1\n")
    assert reader.lines() == ["1"]
    first = path.rename(path.with_name("daemon.log.2"))
    append(first, "2\n")
    os.utime(first, (1000, 1000))
    second = path.with_name("daemon.log.1")
    second.write_text("3\n4\n")
    os.utime(second, (2000, 2000))
    path.write_text("5\n")
    assert reader.lines() == ["2", "3", "4", "5"]


def test_copied_and_truncated(path: Path, reader: Reader) -> None:
    """What was written before the copy was made is read in the copy; then the file from its beginning."""
    append(path, "1\n")
    assert reader.lines() == ["1"]
    append(path, "2\n3 and no n")
    shutil.copy(path, path.with_name("daemon.log.1"))
    os.truncate(path, 0)
    append(path, "4\n")
    assert reader.lines() == ["2", "3 and no n", "4"]
    assert _status(reader) == "ok"


def test_truncated_and_grown_beyond(path: Path, reader: Reader) -> None:
    """A file that was truncated and has grown longer than it was is known by its first bytes."""
    append(path, "1\n")
    assert reader.lines() == ["1"]
    path.write_text("12:00:09 another beginning, and longer than the file was before\n2\n")
    assert reader.lines() == ["12:00:09 another beginning, and longer than the file was before", "2"]


def test_truncated_without_copy(path: Path, reader: Reader) -> None:
    """Emptied by hand: reading begins anew at the top."""
    append(path, "1\n")
    assert reader.lines() == ["1"]
    os.truncate(path, 0)
    assert reader.lines() == []
    append(path, "2\n")
    assert reader.lines() == ["2"]


def test_same_place_other_line_other_label(path: Path, reader: Reader) -> None:
    """After truncation the same inode and offset name another line: its label is another one."""
    append(path, "a1\n")
    reader.lines()
    os.truncate(path, len("12:00:00 past\n"))
    os.truncate(path, 0)
    append(path, "12:00:01 past\na2\n")
    reader.lines()
    assert len(set(reader.labels)) == len(reader.labels) == 3


def test_away_and_back(path: Path, reader: Reader) -> None:
    """A file that is missing for longer than a rotation takes is lost; the same file, back, is read on where it was left."""
    append(path, "1\n")
    assert reader.lines() == ["1"]
    away = path.rename(path.with_name("elsewhere"))
    assert reader.lines() == []
    assert _status(reader) == "ok"
    later = NOW + timedelta(seconds=6)
    assert reader.lines(later) == []
    assert _status(reader) == "lost"
    append(away, "2\n")
    away.rename(path)
    assert reader.lines(later) == ["2"]
    assert reader.lines(later) == []
    assert _status(reader) == "ok"


def test_not_there_yet(tmp_path: Path) -> None:
    """A log that does not exist is lost from the start, with advice; when it appears it is read from its beginning."""
    path = tmp_path / "later.log"
    reader = Reader(path)
    assert reader.lines() == []
    emitted = reader.health.due(NOW)
    assert emitted is not None
    assert emitted.status == "lost"
    assert "does not exist" in (emitted.error or "")
    path.write_text("1\n")
    assert reader.lines() == ["1"]
    assert _status(reader) == "ok"
    reader.stop()


def test_symbolic_link_swapped(tmp_path: Path) -> None:
    """A link that points to another file is a rotation, too."""
    (tmp_path / "a").write_text("past\n")
    (tmp_path / "b").write_text("2\n")
    link = tmp_path / "current"
    link.symlink_to("a")
    reader = Reader(link)
    append(tmp_path / "a", "1\n")
    (tmp_path / "new").symlink_to("b")
    (tmp_path / "new").rename(link)
    assert reader.lines() == ["1", "2"]
    reader.stop()


@pytest.mark.parametrize("suffix", [".1", "-20261120", ".2026-11-20", "-20261120-1795"])
def test_restart_after_rename(path: Path, reader: Reader, suffix: str) -> None:
    """Rotated while nobody read: the rest of the old file first, under whatever name rotation gave it, then the new one."""
    append(path, "1\n")
    reader.lines()
    cursor = reader.stop()
    append(path, "2\n")
    path.rename(path.with_name(path.name + suffix))
    path.write_text("3\n")
    again = Reader(path, cursor)
    assert again.lines() == ["2", "3"]
    assert _status(again) == "ok"
    again.stop()


def test_restart_after_copytruncate(path: Path, reader: Reader) -> None:
    """Copied and truncated while nobody read: the rest is found in the copy, by its first bytes."""
    append(path, "1\n")
    reader.lines()
    cursor = reader.stop()
    append(path, "2\n")
    shutil.copy(path, path.with_name("daemon.log.1"))
    os.truncate(path, 0)
    append(path, "3\n")
    again = Reader(path, cursor)
    assert again.lines() == ["2", "3"]
    again.stop()


def test_restart_in_the_middle_of_a_line(path: Path, reader: Reader) -> None:
    """A line of which half was read before the restart is read whole after it."""
    append(path, "1\nha")
    assert reader.lines() == ["1"]
    again = Reader(path, reader.stop())
    append(path, "lf\n")
    assert again.lines() == ["half"]
    again.stop()


def test_restart_and_the_file_is_gone(path: Path, reader: Reader) -> None:
    """The file was deleted while nobody read: a gap is said, and the new file is read from its beginning."""
    append(path, "1\n")
    reader.lines()
    cursor = reader.stop()
    path.unlink()
    path.write_text("new\n")
    again = Reader(path, cursor)
    assert again.lines() == ["new"]
    assert _status(again) == "gap"
    again.stop()


def test_inode_used_again_is_no_proof(path: Path, reader: Reader) -> None:
    """A cursor with the inode of a file that has other first bytes does not lead into the middle of that file."""
    append(path, "1\n")
    reader.lines()
    cursor = reader.stop()
    path.write_text("00:00:00 a longer file with the same inode\nsecond\n")
    again = Reader(path, cursor)
    assert again.lines() == ["00:00:00 a longer file with the same inode", "second"]
    again.stop()


@pytest.mark.parametrize("cursor", ["", "{}", "[]", "null", "b007:12", '{"path": 1}', "\0", "9" * 5000, '{"offset": -1}'])
def test_foreign_cursor(path: Path, cursor: str) -> None:
    """What is no cursor of a file is none: reading begins at the end."""
    reader = Reader(path, cursor)
    append(path, "1\n")
    assert reader.lines() == ["1"]
    reader.stop()


def test_cursor_of_another_path(path: Path, reader: Reader) -> None:
    """The settings name another file now: its past is not emitted."""
    cursor = reader.stop()
    other = path.with_name("other.log")
    other.write_text("past of the other\n")
    again = Reader(other, cursor)
    assert again.lines() == []
    assert _status(again) == "ok"
    again.stop()


def test_too_far_behind(path: Path, reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading is not taken up farther back than the bound: what is skipped is a gap, and no half line is read."""
    monkeypatch.setattr(follower_module, "CATCH_UP_BYTES", 1000)
    cursor = reader.stop()
    append(path, "".join(f"line {number:05}\n" for number in range(1000)))
    again = Reader(path, cursor)
    lines = again.lines()
    assert lines == [f"line {number:05}" for number in range(1000 - len(lines), 1000)]
    assert 80 < len(lines) <= 91
    assert _status(again) == "gap"
    again.stop()


def test_sparse_beginning(path: Path, reader: Reader) -> None:
    """A writer that does not append goes on at its old offset in a truncated file: the line after the hole is read."""
    append(path, "x" * 5000 + "\n")
    reader.lines()
    os.truncate(path, 0)
    with path.open("r+b") as file:
        file.seek(100_000)
        file.write(b"after the hole\nnext\n")
    assert [line.strip("\0") for line in reader.lines()] == ["", "next"]
    emitted = reader.health.due(NOW)
    assert emitted is not None
    assert emitted.lost == 1


@pytest.mark.parametrize("resumed", [False, True])
def test_may_not_be_read_yet(path: Path, reader: Reader, resumed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that may not be opened for now decides nothing: once it may, reading begins where it would have begun."""
    append(path, "1\n")
    reader.lines()
    cursor = reader.stop() if resumed else None
    append(path, "2\n")

    def refuse(name: str) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", name)

    with monkeypatch.context() as refusing:
        refusing.setattr(follower_module, "LogFile", refuse)
        again = Reader(path, cursor)
        assert again.lines() == []
        assert _status(again) == "lost"
    assert again.lines() == (["2"] if resumed else [])
    append(path, "3\n")
    assert again.lines() == ["3"]
    assert _status(again) == "ok"
    again.stop()


@pytest.mark.parametrize("kind", ["directory", "pipe"])
def test_no_regular_file(tmp_path: Path, kind: str) -> None:
    """A directory or a pipe is refused at once, without waiting for a writer."""
    path = tmp_path / "thing"
    if kind == "directory":
        path.mkdir()
    else:
        os.mkfifo(path)
    reader = Reader(path)
    assert reader.lines() == []
    emitted = reader.health.due(NOW)
    assert emitted is not None
    assert emitted.status == "lost"
    reader.follower.close()


def test_advice() -> None:
    """Each reason why a log cannot be read comes with what to do."""
    assert "`off`" in advice("/x", FileNotFoundError(2, "no"))
    assert "root" in advice("/x", PermissionError(13, "no"))
    assert "Input/output" in advice("/x", OSError(5, "Input/output error"))


def test_no_descriptor_stays_open(path: Path, reader: Reader) -> None:
    """Fifty rotations leave one descriptor open, and none after the end."""
    before = _descriptors()
    for number in range(50):
        append(path, f"{number}\n")
        assert reader.lines()
        if number % 2:
            shutil.copy(path, path.with_name("daemon.log.1"))
            os.truncate(path, 0)
        else:
            path.rename(path.with_name("daemon.log.1"))
        append(path, f"{number} new\n")
        assert reader.lines() == [f"{number} new"]
    assert _descriptors() == before
    reader.follower.close()
    assert _descriptors() == before - 1
