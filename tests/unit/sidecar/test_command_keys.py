"""Key files of operators: who may read and write them, and what is in them."""

import os
from pathlib import Path

import pytest

from engine.errors import CommandKeyError
from engine.sidecar.command_keys import MAX_KEY_FILES, new_key_text, read_command_key, read_command_keys

SECRET = bytes(range(32))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with kim's key."""
    folder = tmp_path / "keys"
    folder.mkdir(mode=0o700)
    put(folder, "kim", new_key_text(SECRET, ["ack"]))
    return folder


def put(folder: Path, operator: str, text: str, mode: int = 0o600) -> Path:
    """A key file."""
    file = folder / f"{operator}.key"
    file.write_text(text)
    file.chmod(mode)
    return file


def test_a_key_file_names_its_operator_and_what_the_key_allows(folder: Path) -> None:
    """The name is the file's, so that one file cannot speak for another operator."""
    put(folder, "all", new_key_text(bytes(32)))
    keys, problems = read_command_keys(folder)
    assert problems == []
    assert keys["kim"].secret == SECRET
    assert keys["kim"].allow == {"ack"}
    assert "unfreeze" in keys["all"].allow
    assert read_command_key(folder / "kim.key") == keys["kim"]


def test_without_a_folder_there_are_no_keys(tmp_path: Path) -> None:
    """And so every command is refused."""
    assert read_command_keys(tmp_path / "none") == ({}, [])


def test_one_bad_file_takes_no_other_key_away(folder: Path) -> None:
    """Each problem names its file, and never what stands in it."""
    put(folder, "short", "secret: abcd")
    put(folder, "odd", "secret: 'verysecretthing'\n")
    put(folder, "extra", new_key_text(SECRET) + "more: 1\n")
    put(folder, "yaml", "secret: [verysecretthing\n")
    put(folder, "open", new_key_text(SECRET), mode=0o644)
    put(folder, "long", "#" * 5000)
    (folder / "link.key").symlink_to(folder / "kim.key")
    os.mkfifo(folder / "fifo.key", 0o600)
    keys, problems = read_command_keys(folder)
    assert list(keys) == ["kim"]
    assert len(problems) == 8
    assert all(str(folder) in problem for problem in problems)
    assert "verysecretthing" not in "".join(problems)
    assert SECRET.hex() not in "".join(problems)


def test_a_folder_that_others_may_write_is_refused(folder: Path) -> None:
    """Whoever can add a key file commands the host."""
    folder.chmod(0o777)
    with pytest.raises(CommandKeyError, match="others have access"):
        read_command_keys(folder)


def test_keys_of_another_user_are_refused(folder: Path) -> None:
    """Their owner can change them at any time."""
    os.chown(folder / "kim.key", 4711, 4711)
    keys, problems = read_command_keys(folder)
    assert keys == {}
    assert "belongs to user 4711" in problems[0]
    os.chown(folder, 4711, 4711)
    with pytest.raises(CommandKeyError, match="belongs to user 4711"):
        read_command_keys(folder)


def test_a_folder_full_of_files_is_another_one_than_was_meant(folder: Path) -> None:
    """Reading them all for each command would take its time."""
    for number in range(MAX_KEY_FILES):
        put(folder, f"k{number}", "x")
    with pytest.raises(CommandKeyError, match="is this the right folder"):
        read_command_keys(folder)
