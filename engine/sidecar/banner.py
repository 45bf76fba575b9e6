"""What `run` shows at its start: what is read, what is not and why, the mode of each action, and where to listen."""

import os
from collections.abc import Iterator
from pathlib import Path

from engine.action_catalog import ACTIONS
from engine.settings import Settings

_LOGS = {"kernel_log": "kernel", "dockerd_log": "dockerd", "kubelet_log": "kubelet"}
_JOURNALS = (Path("/var/log/journal"), Path("/run/log/journal"))


def not_read(settings: Settings, address: str) -> Iterator[str]:
    """What is not read on this host, each with the reason and what would change it.

    Args:
        settings: of the sidecar.
        address: of Docker.
    """
    if address.startswith("unix://"):
        reason = no_access(Path(address.removeprefix("unix://")), os.R_OK | os.W_OK)
        if reason:
            yield f"Docker at {address}: {reason}; it is tried again and again"
    for name, kind in _LOGS.items():
        where = str(getattr(settings, name))
        if where == "off":
            yield f"{kind} log: off; DOCKWARDEN_{name.upper()} takes a file or journald"
        elif where == "journald":
            if not any(folder.is_dir() for folder in _JOURNALS):
                yield f"{kind} log: journald has no journal here; DOCKWARDEN_{name.upper()} takes a file too"
        elif reason := no_access(Path(where), os.R_OK):
            yield f"{kind} log: {where}: {reason}"


def no_access(path: Path, mode: int) -> str:
    """Why a path cannot be used; nothing when it can."""
    if not path.exists():
        return "not there"
    try:
        if path.is_char_device():  # /dev/kmsg: everybody's by its mode, and yet the kernel asks for CAP_SYSLOG
            os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK))
    except OSError:
        return "no permission"
    return "" if os.access(path, mode) else "no permission"


def modes(settings: Settings) -> Iterator[str]:
    """The actions by what becomes of them: those that are carried out, those that are only reported, those that only look."""
    policy = settings.effective_policy
    by_mode: dict[str, list[str]] = {"act": [], "observe": [], "looks": []}
    for name, spec in ACTIONS.items():
        by_mode["looks" if not spec.changes else policy.mode_of(name)].append(name)
    if by_mode["act"]:
        yield f"carried out: {', '.join(by_mode['act'])}"
    if by_mode["observe"]:
        yield f"only reported: {', '.join(by_mode['observe'])}"
    if by_mode["looks"]:
        yield f"always, as they only look: {', '.join(by_mode['looks'])}"
