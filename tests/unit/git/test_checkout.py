"""What a folder was checked out from, and that nothing a repository says is ever obeyed."""

import asyncio
import os
import shutil
import stat
from pathlib import Path

import pytest

from connectors.git.checkout import checkout_of
from connectors.git.repository import RulesRepository
from engine.ports.rules import Checkout, short_commit
from tests.unit.git.repo import Repo


async def look(folder: Path, **more: float) -> Checkout | None:
    """As the rules' folder is looked at: with every YAML file in it."""
    files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.yaml")}
    return await checkout_of(folder, files, belongs=lambda path: path.endswith(".yaml"), **more)


@pytest.mark.parametrize("below", ["", "rules"])
async def test_a_checkout_is_named_by_its_commit(tmp_path: Path, below: str) -> None:
    """The root of a work tree, or a folder in it."""
    repo = Repo(tmp_path)
    commit = repo.commit({"rules/a.yaml": "a"})
    found = await look(tmp_path / below)
    assert found is not None
    assert found.commit == commit
    assert commit in found.log.read_text()


@pytest.mark.parametrize(("file", "dirty"), [("rules/a.yaml", True), ("rules/new.yaml", True), ("other.txt", False)])
async def test_what_is_not_as_committed_is_told(tmp_path: Path, file: str, dirty: bool) -> None:
    """A changed or new file of the folder makes it dirty, one elsewhere does not."""
    repo = Repo(tmp_path)
    commit = repo.commit({"rules/a.yaml": "a", "other.txt": "o"})
    (tmp_path / file).write_text("changed")
    found = await look(tmp_path / "rules")
    assert found is not None
    assert short_commit(found.commit) == commit[:12] + ("-dirty" if dirty else "")


async def test_a_file_that_is_missing_makes_it_dirty(tmp_path: Path) -> None:
    """One that the commit has and nobody read."""
    repo = Repo(tmp_path)
    repo.commit({"a.yaml": "a", "b.yaml": "b"})
    (tmp_path / "b.yaml").unlink()
    found = await look(tmp_path)
    assert found is not None
    assert found.commit.endswith("-dirty")


async def test_packed_detached_linked_and_further_work_trees_are_read(tmp_path: Path) -> None:
    """Wherever git keeps what HEAD means: in one file of all references, in HEAD itself, beside another work tree."""
    repo = Repo(tmp_path / "repo")
    commit = repo.commit({"a.yaml": "a"})
    (repo.folder / "link.yaml").symlink_to("a.yaml")
    commit = repo.commit({})
    repo.git("gc", "--quiet")
    repo.git("pack-refs", "--all")
    repo.git("worktree", "add", "--quiet", "--detach", str(tmp_path / "other"))
    for folder in (repo.folder, tmp_path / "other"):
        found = await look(folder)
        assert found is not None
        assert found.commit == commit


async def test_a_folder_of_no_commit_has_none(tmp_path: Path) -> None:
    """No work tree, nothing committed yet, a folder that is not in the commit, a folder that is not there."""
    assert await look(tmp_path) is None
    repo = Repo(tmp_path / "repo")
    assert await look(repo.folder) is None
    repo.commit({"a.yaml": "a"})
    (repo.folder / "new").mkdir()
    (repo.folder / "new" / "b.yaml").write_text("b")
    assert await look(repo.folder / "new") is None
    assert await look(repo.folder / "none") is None


async def test_a_slow_git_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The name of the commit is not worth waiting for."""
    repo = Repo(tmp_path / "repo")
    repo.commit({"a.yaml": "a"})
    slow = tmp_path / "bin" / "git"
    slow.parent.mkdir()
    slow.write_text("#!/bin/sh\nexec sleep 60\n")
    slow.chmod(0o755)
    monkeypatch.setenv("PATH", f"{slow.parent}:/usr/bin:/bin")
    assert await look(repo.folder, timeout_s=0.2) is None


async def test_a_repository_of_another_user_is_not_named(tmp_path: Path) -> None:
    """Only what belongs to root or to us is read."""
    repo = Repo(tmp_path / "repo")
    repo.commit({"a.yaml": "a"})
    os.chown(repo.folder / ".git", 1234, 1234)
    assert await look(repo.folder) is None


class Trap:
    """A program that leaves a mark when it is run."""

    def __init__(self, folder: Path) -> None:
        self.mark = folder / "sprung"
        self.path = folder / "trap"
        self.path.write_text(f"#!/bin/sh\ntouch {self.mark}\ncat 2>/dev/null\n")
        self.path.chmod(0o755)


@pytest.fixture
def trap(tmp_path: Path) -> Trap:
    """One that has not sprung."""
    return Trap(tmp_path)


SETTINGS = {
    "fsmonitor": ("core.fsmonitor", "{trap}"),
    "pager": ("core.pager", "{trap}"),
    "ls-tree pager": ("pager.ls-tree", "{trap}"),
    "ssh": ("core.sshCommand", "{trap}"),
    "editor": ("core.editor", "{trap}"),
    "credential helper": ("credential.helper", "!{trap}"),
    "clean filter": ("filter.x.clean", "{trap}"),
    "process filter": ("filter.x.process", "{trap}"),
    "text conversion": ("diff.x.textconv", "{trap}"),
    "hooks": ("core.hooksPath", "{hooks}"),
    "promisor": ("remote.origin.uploadpack", "{trap}"),
}


def set_up(repo: Repo, trap: Trap, what: str) -> None:
    """Put a trap into a repository's own settings, with all that makes git look at it."""
    hooks = trap.path.parent / "hooks"
    hooks.mkdir(exist_ok=True)
    for hook in ("post-index-change", "reference-transaction", "pre-auto-gc", "post-checkout", "fsmonitor-watchman"):
        shutil.copy(trap.path, hooks / hook)
    name, value = SETTINGS[what]
    info = repo.folder / ".git" / "info"
    info.mkdir(exist_ok=True)
    (info / "attributes").write_text("* filter=x diff=x\n")
    for key, text in (
        ("remote.origin.url", str(repo.folder)),
        ("remote.origin.promisor", "true"),
        ("extensions.partialClone", "origin"),
        ("core.repositoryformatversion", "1"),
        (name, value.format(trap=trap.path, hooks=hooks)),
    ):
        repo.git("config", key, text)
    # The index says that the file may have changed: what asks git whether it did, has it filtered.
    os.utime(repo.folder / "a.yaml", (1, 1))


@pytest.mark.parametrize("what", list(SETTINGS))
async def test_no_program_of_the_repository_is_run(tmp_path: Path, trap: Trap, what: str) -> None:
    """Whatever program the settings of a repository name, for whatever purpose."""
    repo = Repo(tmp_path / "repo")
    commit = repo.commit({"a.yaml": "a"})
    set_up(repo, trap, what)
    found = await look(repo.folder)
    assert found is not None
    assert found.commit == commit
    assert not trap.mark.exists()


async def test_a_missing_object_is_not_fetched(tmp_path: Path, trap: Trap) -> None:
    """In a partial clone git would fetch what is not there, by programs that the settings name."""
    repo = Repo(tmp_path / "repo")
    repo.commit({"a.yaml": "a"})
    set_up(repo, trap, "promisor")
    tree = repo.git("rev-parse", "HEAD^{tree}")
    (repo.folder / ".git" / "objects" / tree[:2] / tree[2:]).unlink()
    assert await look(repo.folder) is None
    assert not trap.mark.exists()


@pytest.mark.parametrize("below", ["", "rules"])
async def test_rules_that_look_like_a_repository_are_not_taken_for_one(tmp_path: Path, trap: Trap, below: str) -> None:
    """HEAD, config, index, objects/, refs/ and info/attributes are ordinary files that anybody can commit among the rules."""
    planted = Repo(tmp_path / "planted")
    planted.commit({"a.yaml": "a"})
    set_up(planted, trap, "clean filter")
    planted.git("config", "core.worktree", ".")
    planted.git("config", "core.bare", "false")
    repo = Repo(tmp_path / "repo")
    rules = repo.folder / "rules"
    shutil.copytree(planted.folder / ".git", rules)
    (rules / "a.yaml").write_text("a")
    repo.commit({})
    clone = tmp_path / "clone"
    repo.git("clone", "--quiet", str(repo.folder), str(clone))
    (clone / "rules" / "refs").mkdir(exist_ok=True)
    assert trap.mark.exists() is False
    os.utime(clone / "rules" / "a.yaml", (1, 1))
    found = await look(clone / below)
    assert found is None or below == ""
    assert not trap.mark.exists()


async def test_a_pipe_in_place_of_a_file_of_git_s_blocks_nobody(tmp_path: Path) -> None:
    """HEAD may be a pipe that nobody writes to."""
    repo = Repo(tmp_path / "repo")
    repo.commit({"a.yaml": "a"})
    (repo.folder / ".git" / "HEAD").unlink()
    os.mkfifo(repo.folder / ".git" / "HEAD")
    async with asyncio.timeout(5):
        assert await look(repo.folder) is None


async def test_attributes_do_not_change_what_a_commit_says(tmp_path: Path) -> None:
    """`export-ignore` would leave a rules file out, `export-subst` and `text` would change one: files come byte by byte."""
    repo = Repo(tmp_path / "origin")
    files = {"a.yaml": "# $Format:%H$\n", "b.yaml": "b"}
    repo.commit(files | {".gitattributes": "a.yaml export-subst eol=crlf\nb.yaml export-ignore\n"})
    copy = RulesRepository(tmp_path / "copy.git", address=str(repo.folder), ref="main")
    assert await copy.files(await copy.fetch()) == [("a.yaml", b"# $Format:%H$\n"), ("b.yaml", b"b")]


async def test_hooks_of_the_copy_are_not_run(tmp_path: Path, trap: Trap) -> None:
    """Not even those that somebody lays into our own copy."""
    repo = Repo(tmp_path / "origin")
    repo.commit({"a.yaml": "a"})
    copy = RulesRepository(tmp_path / "copy.git", address=str(repo.folder), ref="main")
    await copy.take(await copy.fetch())
    hook = tmp_path / "copy.git" / "hooks" / "reference-transaction"
    hook.parent.mkdir(exist_ok=True)
    shutil.copy(trap.path, hook)
    hook.chmod(stat.S_IRWXU)
    repo.commit({"a.yaml": "b"})
    await copy.take(await copy.fetch())
    assert not trap.mark.exists()
