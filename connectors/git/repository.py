"""A branch or tag of a Git repository, kept as a bare copy: what is there, whether it may be taken, and its files.

Nothing is checked out: files are read from the commit itself, byte by byte, so that no one ever sees half of a change and no
attribute of the repository changes what they say. Two references are kept: `candidate`, which was fetched last, and `taken`,
which is in force. Only a descendant of `taken` becomes the next one.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from connectors.git.client import CALL_S, Address, GitError, git
from engine.errors import RulesError

_CANDIDATE = "refs/dockwarden/candidate"
_TAKEN = "refs/dockwarden/taken"

_REF = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./-]{0,254}\Z")
"""No option, no `@{…}`, no `..`: what git check-ref-format allows and people use."""

_FILE_BYTES = (1 << 20) + 1
"""One byte more than a rules file may have, so that the check sees that it is too large."""


class RefusedCommitError(RulesError):
    """A commit that must not be taken; the message names it and says why."""


class RulesRepository:
    """One reference of one repository."""

    def __init__(self, folder: Path, *, address: str, ref: str, signed: bool = False, timeout_s: float = CALL_S) -> None:
        """Nothing is read yet.

        Args:
            folder: of the copy; made when it is missing.
            address: URL or path of the repository. A password or token in a URL is shown nowhere.
            ref: branch or tag.
            signed: whether only commits with a good signature are taken (by `git verify-commit`, so by this user's keyring
                or `gpg.ssh.allowedSignersFile`).
            timeout_s: seconds for one call of git.

        Raises:
            RefusedCommitError: the reference or address is none.
        """
        if not _REF.match(ref) or ".." in ref:
            raise RefusedCommitError(f"{ref!r} is no name of a branch or tag")
        self._address = Address.parse(address)
        if not self._address.url or self._address.url.startswith("-"):
            raise RefusedCommitError(f"{self._address.url!r} is no address of a repository")
        self._folder = folder
        self._ref = ref
        self._signed = signed
        self._timeout_s = timeout_s

    async def fetch(self) -> str:
        """Look what is there now; the commit.

        Raises:
            GitError: it cannot be reached, or has no such reference.
            RefusedCommitError: it is no fast-forward of what is taken, or not signed as demanded.
        """
        if not (self._folder / "HEAD").exists():
            await git("init", "--quiet", "--bare", str(self._folder), timeout_s=self._timeout_s)
        # Without tags and without a configured remote: one reference comes in, under a name of ours.
        await self._git("fetch", "--quiet", "--no-tags", "--force", "--", self._address.url, f"{self._ref}:{_CANDIDATE}")
        commit = await self._commit(_CANDIDATE)
        if commit is None:
            raise GitError(f"{self._ref} of {self._address.url} is no commit")
        taken = await self.taken()
        if taken is not None and commit != taken and not await self._is_ancestor(taken, commit):
            raise RefusedCommitError(f"commit {commit[:12]} of {self._ref} is no fast-forward of {taken[:12]}, which is in force")
        if self._signed:
            await self._verify(commit)
        return commit

    async def taken(self) -> str | None:
        """The commit in force, None before the first."""
        return await self._commit(_TAKEN) if (self._folder / "HEAD").exists() else None

    async def take(self, commit: str) -> None:
        """From now on this commit is in force.

        Raises:
            GitError: that cannot be written down.
        """
        await self._git("update-ref", _TAKEN, commit)

    async def files(self, commit: str, folder: str = "") -> list[tuple[str, bytes]]:
        """Every ordinary file below a folder of a commit, by its path there; a large one as so many zeros: nobody reads it.

        Raises:
            GitError: there is no such folder.
        """
        place = f"{commit}:{folder.strip('/')}" if folder.strip("/") else commit
        listed = list(_files_of(await self._git("ls-tree", "-r", "-l", "-z", place)))
        wanted = list(dict.fromkeys(blob for _, blob, size in listed if size < _FILE_BYTES))
        contents = _blobs(await self._git("cat-file", "--batch", feed="".join(f"{blob}\n" for blob in wanted).encode()))
        return sorted((path, contents.get(blob, bytes(_FILE_BYTES))) for path, blob, _ in listed)

    async def _verify(self, commit: str) -> None:
        try:
            await self._git("verify-commit", commit)
        except GitError as error:
            raise RefusedCommitError(f"commit {commit[:12]} of {self._ref} has no good signature: {error}") from error

    async def _is_ancestor(self, older: str, newer: str) -> bool:
        try:
            await self._git("merge-base", "--is-ancestor", older, newer)
        except GitError as error:
            if error.status == 1:
                return False
            raise
        return True

    async def _commit(self, name: str) -> str | None:
        try:
            return (await self._git("rev-parse", "--quiet", "--verify", f"{name}^{{commit}}")).decode("ascii").strip()
        except GitError as error:
            if error.status == 1:
                return None
            raise

    async def _git(self, *arguments: str, feed: bytes = b"") -> bytes:
        return await git(*arguments, folder=self._folder, address=self._address, feed=feed, timeout_s=self._timeout_s)


def _files_of(tree: bytes) -> Iterator[tuple[str, str, int]]:
    """Path, blob and size of every ordinary file in an answer of ls-tree; hidden ones, links and submodules left out."""
    for entry in tree.split(b"\0")[:-1]:
        meta, _, name = entry.partition(b"\t")
        mode, _, blob, size = meta.split()
        path = os.fsdecode(name)
        if mode.startswith(b"100") and not any(part.startswith(".") for part in PurePosixPath(path).parts):
            yield path, blob.decode("ascii"), int(size)


def _blobs(batch: bytes) -> dict[str, bytes]:
    """Contents by blob, from an answer of `cat-file --batch`: `<blob> blob <size>`, the bytes, a newline, one after the other."""
    found: dict[str, bytes] = {}
    at = 0
    while at < len(batch):
        end = batch.index(b"\n", at)
        blob, kind, size = batch[at:end].split(b" ")
        begin, at = end + 1, end + 2 + int(size)
        if kind == b"blob":
            found[blob.decode("ascii")] = batch[begin : at - 1]
    return found
