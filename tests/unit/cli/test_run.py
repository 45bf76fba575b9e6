"""engine.cli.run: what `dockwarden run` shows at its start."""

from pathlib import Path

import pytest

from engine.cli.run import own_command


def test_the_command_shown_is_one_that_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bare name where the PATH leads to this very program, its full path where it leads nowhere or to another one."""
    ours, other = tmp_path / "venv/bin/dockwarden", tmp_path / "other/dockwarden"
    for program in (ours, other):
        program.parent.mkdir(parents=True)
        program.touch(0o755)
    monkeypatch.chdir(tmp_path)
    for path, shown in ((ours.parent, "dockwarden"), (other.parent, str(ours)), (tmp_path, str(ours))):
        monkeypatch.setenv("PATH", str(path))
        assert own_command(Path("venv/bin/dockwarden")) == shown
    (tmp_path / "dockwarden").symlink_to(ours)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert own_command(ours) == "dockwarden"
