import asyncio
import os
import shutil
import socket
import time
from pathlib import Path

import pytest

from connectors.git.client import Address, GitError, git
from connectors.git.repository import RefusedCommitError, RulesRepository
from tests.unit.git.repo import Repo


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    """A repository with one commit."""
    made = Repo(tmp_path / "origin")
    made.commit({"a.yaml": "one", "sub/b.yaml": "two", ".hidden/c.yaml": "three"})
    return made


def _of(repo: Repo, tmp_path: Path, **more: bool) -> RulesRepository:
    return RulesRepository(tmp_path / "copy.git", address=str(repo.folder), ref="main", **more)


async def test_files_are_read_from_the_commit(repo: Repo, tmp_path: Path) -> None:
    """Ordinary files by their path, hidden ones left out; below a folder, by their path in it."""
    copy = _of(repo, tmp_path)
    commit = await copy.fetch()
    assert await copy.files(commit) == [("a.yaml", b"one"), ("sub/b.yaml", b"two")]
    assert await copy.files(commit, "sub/") == [("b.yaml", b"two")]


async def test_a_fast_forward_is_taken(repo: Repo, tmp_path: Path) -> None:
    """A descendant of the commit in force is handed out."""
    copy = _of(repo, tmp_path)
    await copy.take(await copy.fetch())
    new = repo.commit({"a.yaml": "other"})
    assert await copy.fetch() == new


async def test_a_rewritten_branch_is_refused(repo: Repo, tmp_path: Path) -> None:
    """A commit that does not follow on the one in force is refused by name, also by the next process."""
    copy = _of(repo, tmp_path)
    taken = await copy.fetch()
    await copy.take(taken)
    new = repo.commit({"a.yaml": "other"}, "--amend")
    for again in (copy, _of(repo, tmp_path)):
        with pytest.raises(RefusedCommitError, match=f"{new[:12]} of main is no fast-forward of {taken[:12]}"):
            await again.fetch()
        assert await again.taken() == taken


async def test_what_was_not_taken_binds_nobody(repo: Repo, tmp_path: Path) -> None:
    """A bad commit that was never in force may be rewritten."""
    copy = _of(repo, tmp_path)
    await copy.take(await copy.fetch())
    repo.commit({"a.yaml": "bad"})
    await copy.fetch()
    repaired = repo.commit({"a.yaml": "repaired"}, "--amend")
    assert await copy.fetch() == repaired


async def test_a_tag_will_do(repo: Repo, tmp_path: Path) -> None:
    """An annotated tag names the commit it stands for."""
    repo.git("tag", "--annotate", "v1", "--message", "one")
    copy = RulesRepository(tmp_path / "copy.git", address=str(repo.folder), ref="v1")
    assert await copy.fetch() == repo.git("rev-parse", "HEAD")


async def test_only_good_signatures_when_they_are_demanded(repo: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unsigned and signed by somebody else: refused; signed by an allowed signer: taken."""
    allowed, config = tmp_path / "allowed", tmp_path / "gitconfig"
    config.write_text(f'[gpg "ssh"]\n\tallowedSignersFile = {allowed}\n')
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(config))
    copy = _of(repo, tmp_path, signed=True)
    allowed.write_text("")
    with pytest.raises(RefusedCommitError, match="has no good signature"):
        await copy.fetch()
    key = tmp_path / "key"
    repo.sign_by(key)
    signed = repo.commit({"a.yaml": "signed"}, "--gpg-sign")
    with pytest.raises(RefusedCommitError, match="has no good signature"):
        await copy.fetch()
    allowed.write_text(f"tester@example.org {key.with_suffix('.pub').read_text()}")
    assert await copy.fetch() == signed


@pytest.mark.parametrize("ref", ["--upload-pack=x", "a..b", "", "a b", "refs/heads/\n", "@{-1}"])
def test_a_hostile_reference_never_reaches_git(tmp_path: Path, ref: str) -> None:
    """What could be read as an option or a range is refused before git sees it."""
    with pytest.raises(RefusedCommitError):
        RulesRepository(tmp_path, address="x", ref=ref)


@pytest.mark.parametrize("address", ["ext::sh -c 'touch {marker}'", "/nonexistent", "https://127.0.0.1:1/x.git"])
async def test_an_address_that_leads_nowhere_is_an_error(tmp_path: Path, address: str) -> None:
    """A missing repository, a refused connection, and helper programs in an address: an error with git's words; nothing runs."""
    marker = tmp_path / "marker"
    copy = RulesRepository(tmp_path / "copy.git", address=address.format(marker=marker), ref="main")
    with pytest.raises(GitError, match="git fetch"):
        await copy.fetch()
    assert not marker.exists()


async def test_a_server_that_says_nothing_is_given_up(tmp_path: Path) -> None:
    """A connection that is taken and never answered ends at the time-out, with everything that git started."""
    with socket.create_server(("127.0.0.1", 0)) as server:  # the kernel takes the connection, nobody else does
        copy = RulesRepository(
            tmp_path / "copy.git", address=f"git://127.0.0.1:{server.getsockname()[1]}/x", ref="main", timeout_s=1
        )
        started = time.monotonic()
        with pytest.raises(GitError, match="took longer than 1 s"):
            await copy.fetch()
        assert time.monotonic() - started < 10


async def test_git_that_is_not_installed_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without git the message says so."""
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(GitError, match="git cannot be run"):
        await git("--version")


@pytest.mark.parametrize(
    ("text", "shown", "header"),
    [
        ("https://user:t%40ken@host.example/x.git", "https://host.example/x.git", "dXNlcjp0QGtlbg=="),
        ("https://t0ken@host.example/x.git", "https://host.example/x.git", "dDBrZW46"),
        ("ssh://git:t0ken@host.example/x.git", "ssh://git@host.example/x.git", ""),
        ("git@host.example:x.git", "git@host.example:x.git", ""),
        ("/srv/rules.git", "/srv/rules.git", ""),
        ("https://[t0ken@x", "x", ""),
    ],
)
def test_a_secret_comes_out_of_an_address(text: str, shown: str, header: str) -> None:
    """What is shown and stands on a command line has no password or token in it."""
    address = Address.parse(text)
    assert (address.url, address.header.removeprefix("Authorization: Basic ")) == (shown, header)
    assert "ken" not in repr(address).replace("[t0ken", "")


async def test_a_token_goes_to_the_server_and_nowhere_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not onto git's command line, not into the message: only into the request."""
    recorder = tmp_path / "bin" / "git"
    recorder.parent.mkdir()
    recorder.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/argv\nexec {shutil.which("git")} "$@"\n')
    recorder.chmod(0o755)
    monkeypatch.setenv("PATH", f"{recorder.parent}:{os.environ['PATH']}")
    requests: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        requests.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        copy = RulesRepository(tmp_path / "copy.git", address=f"http://user:t0ken@127.0.0.1:{port}/x.git", ref="main")
        with pytest.raises(GitError) as raised:
            await copy.fetch()
    assert b"Authorization: Basic dXNlcjp0MGtlbg==" in requests[0]
    assert "t0ken" not in str(raised.value)
    assert "t0ken" not in (tmp_path / "argv").read_text()
    assert "t0ken" not in "".join(
        path.read_text(errors="replace") for path in (tmp_path / "copy.git").rglob("*") if path.is_file()
    )


async def test_many_and_large_files_come_whole_or_not_at_all(tmp_path: Path) -> None:
    """Two hundred files in one call; one beyond the bound of a rules file is as long as what is refused."""
    repo = Repo(tmp_path / "origin")
    files = {f"{number:03}.yaml": f"{number}\n\n" for number in range(200)}
    repo.commit(files | {"large.yaml": "x" * 2_000_000, "empty.yaml": ""})
    copy = _of(repo, tmp_path)
    found = dict(await copy.files(await copy.fetch()))
    assert len(found.pop("large.yaml")) == (1 << 20) + 1
    assert found == {name: text.encode() for name, text in files.items()} | {"empty.yaml": b""}
