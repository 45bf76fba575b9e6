"""What a folder was checked out from."""

from pathlib import Path

import pytest

from connectors.git.checkout import checkout_of, short
from tests.unit.git.repo import Repo


@pytest.mark.parametrize("below", ["", "rules"])
async def test_a_checkout_is_named_by_its_commit(tmp_path: Path, below: str) -> None:
    """The root of a work tree, or a folder in it."""
    repo = Repo(tmp_path)
    commit = repo.commit({"rules/a.yaml": "a"})
    found = await checkout_of(tmp_path / below)
    assert found is not None
    assert found.commit == commit
    assert commit in found.log.read_text()


@pytest.mark.parametrize(("file", "dirty"), [("rules/a.yaml", True), ("rules/new.yaml", True), ("other.txt", False)])
async def test_what_is_not_as_committed_is_told(tmp_path: Path, file: str, dirty: bool) -> None:
    """A changed or new file of the folder makes it dirty, one elsewhere does not."""
    repo = Repo(tmp_path)
    commit = repo.commit({"rules/a.yaml": "a", "other.txt": "o"})
    (tmp_path / file).write_text("changed")
    found = await checkout_of(tmp_path / "rules")
    assert found is not None
    assert short(found.commit) == commit[:12] + ("-dirty" if dirty else "")


async def test_a_folder_of_no_commit_has_none(tmp_path: Path) -> None:
    """No work tree, nothing committed yet, a folder that is not in the commit, a folder that is not there."""
    assert await checkout_of(tmp_path) is None
    repo = Repo(tmp_path / "repo")
    assert await checkout_of(repo.folder) is None
    repo.commit({"a.yaml": "a"})
    (repo.folder / "new").mkdir()
    (repo.folder / "new" / "b.yaml").write_text("b")
    assert await checkout_of(repo.folder / "new") is None
    assert await checkout_of(repo.folder / "none") is None


async def test_a_slow_git_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The name of the commit is not worth waiting for."""
    slow = tmp_path / "bin" / "git"
    slow.parent.mkdir()
    slow.write_text("#!/bin/sh\nexec sleep 60\n")
    slow.chmod(0o755)
    monkeypatch.setenv("PATH", f"{slow.parent}:/usr/bin:/bin")
    assert await checkout_of(tmp_path, timeout_s=0.2) is None


async def test_no_program_of_the_repository_is_run(tmp_path: Path) -> None:
    """The settings of a repository may name a program that `git status` starts."""
    repo = Repo(tmp_path / "repo")
    repo.commit({"a.yaml": "a"})
    trap = tmp_path / "trap"
    trap.write_text(f"#!/bin/sh\ntouch {tmp_path}/sprung\n")
    trap.chmod(0o755)
    repo.git("config", "core.fsmonitor", str(trap))
    assert await checkout_of(repo.folder) is not None
    assert not (tmp_path / "sprung").exists()
