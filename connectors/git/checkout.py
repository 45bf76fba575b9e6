"""The commit of the work tree that a folder lies in, where it lies in one. Knows no rules.

Whoever commits to a repository, or may write to its `.git`, must not get a word in: its settings, attributes and hooks can name
programs that git runs, as us. So git is never started in the repository. The commit that is checked out is read from its files
here, and git reads that commit's tree through an empty git directory of our own that borrows nothing but the objects.
"""

import asyncio
import hashlib
import os
import re
import stat
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from connectors.git.client import GitError, git
from engine.ports.rules import DIRTY, Checkout

CALL_S = 2.0
"""A name for what is in force must not hold up its coming into force; the call takes some 3 ms."""

_SMALL = 4096
_PACKED_REFS = 16 * 1024 * 1024
_COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?\Z")
_REF = re.compile(r"refs/[A-Za-z0-9][A-Za-z0-9_./-]{0,250}\Z")
_LINK = b"120000"
_SHA256_SETTINGS = "[core]\n\trepositoryformatversion = 1\n[extensions]\n\tobjectformat = sha256\n"


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a folder stands: git's own directories, and its path within the work tree."""

    git_dir: Path
    common: Path
    """The same, except for a further work tree (`git worktree add`)."""
    folder: str


async def checkout_of(
    folder: Path,
    files: Mapping[str, bytes],
    *,
    belongs: Callable[[str], bool] = lambda _: True,
    timeout_s: float = CALL_S,
) -> Checkout | None:
    """What a folder was checked out from; None where that cannot be said for certain.

    That is so when git is not installed or answers too late, when the folder is in no commit or is itself a git directory, and
    when the repository belongs to another user than root or us.

    Args:
        folder: it and what is above it is looked at for `.git`.
        files: what was read of the folder, by path in it: compared with the commit, not read again.
        belongs: says of a path in the commit whether it should be among the files.
        timeout_s: for git.
    """
    try:
        place = await asyncio.to_thread(_place, folder)
        commit = None if place is None else await asyncio.to_thread(_head, place)
        if place is None or commit is None:
            return None
        tree = await _tree(place, commit, timeout_s)
        same = await asyncio.to_thread(_as_committed, folder, tree, files, belongs)
    except (GitError, OSError, ValueError):
        return None
    return Checkout(commit + ("" if same else DIRTY), place.git_dir / "logs" / "HEAD")


def _place(folder: Path) -> _Place | None:
    folder = folder.resolve(strict=True)
    if (folder / "HEAD").exists() and (folder / "objects").exists():
        return None  # a git directory itself, or what somebody wants to be taken for one
    for above in (folder, *folder.parents):
        marker = above / ".git"
        if not marker.exists():
            continue
        git_dir = marker
        if marker.is_file():  # a further work tree, or a submodule
            git_dir = above / _read(marker).removeprefix("gitdir:").strip()
        link = git_dir / "commondir"
        common = git_dir / _read(link).strip() if link.exists() else git_dir
        if any(_owner(each) not in (0, os.geteuid()) for each in (git_dir, common, common / "objects")):
            return None
        return _Place(git_dir, common, folder.relative_to(above).as_posix())
    return None


def _owner(path: Path) -> int:
    status = path.stat()
    if not stat.S_ISDIR(status.st_mode):
        raise ValueError(f"{path} is no directory")
    return status.st_uid


def _read(path: Path, limit: int = _SMALL) -> str:
    """A small file of git's; never a pipe or a link, which somebody may have laid there.

    Raises:
        OSError, ValueError: it is none.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ValueError(f"{path} is no file")
        return file.read(limit).decode("ascii")


def _head(place: _Place) -> str | None:
    """The commit that is checked out; None before the first."""
    text = _read(place.git_dir / "HEAD").strip()
    if not text.startswith("ref:"):
        return text if _COMMIT.match(text) else None
    name = text.removeprefix("ref:").strip()
    if not _REF.match(name) or ".." in name:
        return None
    if (place.common / name).is_file():
        commit = _read(place.common / name).strip()
    else:
        packed = place.common / "packed-refs"
        lines = _read(packed, _PACKED_REFS).splitlines() if packed.exists() else []
        commit = next((line.split(" ")[0] for line in lines if line.endswith(f" {name}")), "")
    return commit if _COMMIT.match(commit) else None


async def _tree(place: _Place, commit: str, timeout_s: float) -> dict[str, tuple[bytes, str]]:
    """Mode and blob id of every file below the folder, by path in it, as committed."""
    with tempfile.TemporaryDirectory(prefix="dockwarden-git-") as own:
        for name in ("refs", "objects"):
            (Path(own) / name).mkdir()
        (Path(own) / "HEAD").write_text("ref: refs/heads/none\n", encoding="ascii")
        if len(commit) > 40:  # noqa: PLR2004 - hexadecimal digits of SHA-1
            (Path(own) / "config").write_text(_SHA256_SETTINGS, encoding="ascii")
        tree = commit if place.folder == "." else f"{commit}:{place.folder}"
        out = await git(
            *("ls-tree", "-r", "-z", tree),
            folder=Path(own),
            objects=place.common / "objects",
            own_settings=False,
            timeout_s=timeout_s,
        )
    return dict(_entries(out))


def _entries(out: bytes) -> Iterator[tuple[str, tuple[bytes, str]]]:
    for entry in out.split(b"\0")[:-1]:
        meta, _, path = entry.partition(b"\t")
        mode, _, blob = meta.split(b" ")
        yield os.fsdecode(path), (mode, blob.decode("ascii"))


def _as_committed(
    folder: Path, tree: Mapping[str, tuple[bytes, str]], files: Mapping[str, bytes], belongs: Callable[[str], bool]
) -> bool:
    if any(path not in files for path in tree if belongs(path)):
        return False
    return all(path in tree and _is_blob(folder / path, data, *tree[path]) for path, data in files.items())


def _is_blob(path: Path, data: bytes, mode: bytes, blob: str) -> bool:
    if mode == _LINK:  # the commit has where it leads, not what stands there
        data = os.fsencode(path.readlink()) if path.is_symlink() else b""
    digest = hashlib.sha256() if len(blob) > 40 else hashlib.sha1(usedforsecurity=False)  # noqa: PLR2004 - as above
    digest.update(b"blob %d\0" % len(data) + data)
    return digest.hexdigest() == blob
