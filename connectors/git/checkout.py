"""The commit of the work tree that a folder lies in, where it lies in one. Knows no rules."""

from dataclasses import dataclass
from pathlib import Path

from connectors.git.client import GitError, git

CALL_S = 2.0
"""Each of two calls. A name for what is in force must not hold up its coming into force; they take some 3 ms."""

DIRTY = "-dirty"
"""Follows the commit when files of the folder are not as they are in it, as in `git describe --dirty`."""


@dataclass(frozen=True, slots=True)
class Checkout:
    """`commit` in full, with `-dirty` where that is so. `log` grows with every commit, checkout and reset."""

    commit: str
    log: Path


async def checkout_of(folder: Path, timeout_s: float = CALL_S) -> Checkout | None:
    """What a folder was checked out from; None where git does not say.

    That is so when git is not installed or answers too late, when the folder is in no commit, and when the repository belongs
    to another user (git-config(1), safe.directory).
    """
    # A program that the repository's own settings name must not be run by us.
    start = ("-C", str(folder), "-c", "core.fsmonitor=false")
    try:
        # `HEAD:./` is there when the folder itself is part of the commit, not just somewhere below a work tree.
        told = await git(*start, "rev-parse", "--absolute-git-dir", "HEAD", "HEAD:./", timeout_s=timeout_s)
        changed = await git(*start, "status", "--porcelain", "--", ".", timeout_s=timeout_s)
    except GitError:
        return None
    place, commit = told.decode("utf-8", "surrogateescape").splitlines()[:2]
    return Checkout(commit + (DIRTY if changed else ""), Path(place) / "logs" / "HEAD")


def short(commit: str) -> str:
    """For people: enough of it to find it by."""
    return commit[:12] + (DIRTY if commit.endswith(DIRTY) else "")
