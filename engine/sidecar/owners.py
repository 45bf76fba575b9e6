"""Whether anybody but root and ourselves could have written what a root process believes. Knows no rules and no journal."""

import os
import stat
from collections.abc import Iterable
from pathlib import Path

_PROGRAM = Path(__file__).stat().st_uid
"""Who owns this program's own code needs no rules to do with it as they like: a checkout of a plain user, run by root."""


def foreign(path: Path) -> str | None:
    """Why what stands in a file or folder may be somebody else's doing; None if it is not. Links are followed.

    Writing is for its owner, and for a group that is root's or ours. Where nobody can write at all (a read-only mount, as
    Kubernetes makes of a ConfigMap, with mode 0777), only the owner counts.

    Raises:
        OSError: it cannot be looked at.
    """
    state = path.stat()
    if state.st_uid not in {0, os.geteuid(), _PROGRAM}:
        return f"{path} belongs to user {state.st_uid}: give it to root or to the user that dockwarden runs as (chown)"
    by_group = state.st_mode & stat.S_IWGRP and state.st_gid not in {0, os.getegid()}
    if (by_group or state.st_mode & stat.S_IWOTH) and not os.statvfs(path).f_flag & os.ST_RDONLY:
        return f"{path} is writable for others (mode {stat.S_IMODE(state.st_mode):04o}): chmod go-w"
    return None


def foreign_among(folder: Path, files: Iterable[Path]) -> str | None:
    """The first reason among a folder, files below it, and the folders between.

    Raises:
        OSError: one cannot be looked at.
    """
    paths = {folder: None}
    for file in files:
        between = [parent for parent in file.parents if parent.is_relative_to(folder)]
        paths |= dict.fromkeys([*reversed(between), file])
    return next((why for path in paths if (why := foreign(path)) is not None), None)
