"""How rules come from Git: what a folder was checked out from, and the commits of a branch or tag."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

DIRTY = "-dirty"
"""Follows the commit when files of the folder are not as they are in it, as in `git describe --dirty`."""


@dataclass(frozen=True, slots=True)
class Checkout:
    """`commit` in full, with `-dirty` where that is so. `log` grows with every commit, checkout and reset."""

    commit: str
    log: Path


def short_commit(commit: str) -> str:
    """For people: enough of it to find it by."""
    return commit[:12] + (DIRTY if commit.endswith(DIRTY) else "")


class RulesBranch(Protocol):
    """A branch or tag of a repository. Only descendants of the commit that was taken last are taken."""

    async def fetch(self) -> str:
        """Ask what is there now; the commit.

        Raises:
            RulesError: it must not be taken; the message says why.
            SourceError: it cannot be asked at present.
        """

    async def taken(self) -> str | None:
        """The commit in force, None when there is none."""

    async def take(self, commit: str) -> None:
        """This commit is in force now."""

    async def files(self, commit: str, folder: str = "") -> list[tuple[str, bytes]]:
        """Paths below a folder, with their contents."""


class Git(Protocol):
    """What the source of rules needs of Git."""

    def shown(self, address: str) -> str:
        """An address without its secret."""

    def branch(self, folder: Path, *, address: str, ref: str, signed: bool) -> RulesBranch:
        """A branch or tag, kept as a copy in a folder.

        Raises:
            RulesError: there can be none such.
        """

    async def checkout_of(self, folder: Path, files: Mapping[str, bytes], *, belongs: Callable[[str], bool]) -> Checkout | None:
        """What a folder was checked out from; None where that cannot be said for certain."""
