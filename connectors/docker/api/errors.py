"""What went wrong, from Docker's answer or from the lack of one. Pure.

Wordings are taken from the sources of Docker 1.10 to 28 (daemon/delete.go, the storage drivers, api/server/httputils) and from
captured answers of 20.10.
"""

import asyncio
import errno
import re

import aiohttp

from connectors.sources.text import clean
from engine.errors import DockerError
from engine.facts.outcomes import ErrorKind

_BUSY = re.compile(
    r"device or resource busy"  # EBUSY, as Go prints it
    r"|device is busy"  # devicemapper: "Error removing device: Device is Busy"
    r"|target is busy"  # umount(8)
    r"|resource busy"
    r"|dataset is busy",  # zfs
    re.IGNORECASE,
)
_IN_PROGRESS = re.compile(r"already in progress|removal in progress|is being removed|marked for removal", re.IGNORECASE)
_RUNNING = re.compile(
    r"cannot remove a (running|paused|restarting)"  # 1.10 to 27: "You cannot remove a running container ID. Stop …"
    r"|container is (running|paused|restarting)",  # 28: "cannot remove container "NAME": container is running: stop …"
    re.IGNORECASE,
)
_NO_SUCH = re.compile(r"^(error: )?no such container", re.IGNORECASE)

MESSAGE_CHARS = 2_000
"""A failed removal names a path or two; what is longer was put there by somebody."""

AIODOCKER_NO_CONNECTION = 900
"""Not HTTP: aiodocker's status for "could not connect"."""

_BY_STATUS: dict[int, ErrorKind] = {
    404: "not_found",
    401: "denied",
    403: "denied",
    408: "timeout",
    504: "timeout",  # a proxy before Docker
    502: "unreachable",
    503: "unreachable",
    AIODOCKER_NO_CONNECTION: "unreachable",
}
_BY_WORDING: tuple[tuple[re.Pattern[str], ErrorKind], ...] = (
    (_NO_SUCH, "not_found"),
    (_IN_PROGRESS, "in_progress"),
    (_BUSY, "busy"),
    (_RUNNING, "running"),
)
_CONFLICT = 409


def classify(status: int, message: str) -> ErrorKind:
    """The kind of a refusal, by HTTP status and wording.

    The wording decides wherever the status says little: before 17.09 a conflict came as 400 or 500.
    """
    by_status = _BY_STATUS.get(status)
    if by_status is not None:
        return by_status
    for wording, kind in _BY_WORDING:
        if wording.search(message):
            return kind
    return "conflict" if status == _CONFLICT else "failed"


def refused(status: int, message: str) -> DockerError:
    """The error for an answer of Docker with a status of 400 and above."""
    text = clean(message.strip(), MESSAGE_CHARS) or f"HTTP status {status} without a message"
    return DockerError(text, kind=classify(status, text), status=status)


def unreachable(error: BaseException, where: str) -> DockerError:
    """The error for a daemon that could not be spoken with, with what to do about it.

    Args:
        error: what connecting, sending or reading raised.
        where: Docker's address, for the message.
    """
    number = _errno(error)
    kind: ErrorKind = "unreachable"
    begun = False
    match number:
        case errno.ENOENT:
            what = f"there is no socket at {where}: start Docker, or name its address in DOCKER_HOST"
        case errno.EACCES | errno.EPERM:
            kind = "denied"
            what = f"permission denied at {where}: run as root or as a member of the group that owns the socket (docker)"
        case errno.ECONNREFUSED:
            what = f"nobody listens at {where}: Docker has stopped or is just starting (systemctl status docker)"
        case _ if isinstance(error, aiohttp.ConnectionTimeoutError):
            what = f"no connection to {where} in time: is the address right, and Docker's host up?"
        case _ if isinstance(error, TimeoutError | asyncio.TimeoutError):
            kind, begun = "timeout", True
            what = f"no answer from {where} in time"
        case _:
            begun = True
            what = f"the connection to {where} broke: {clean(str(error), MESSAGE_CHARS) or type(error).__name__}"
    return DockerError(what, kind=kind, begun=begun)


def _errno(error: BaseException) -> int | None:
    """The operating system's reason, wherever in the chain of causes it stands."""
    seen = 0
    link: BaseException | None = error
    while link is not None and seen < 10:  # noqa: PLR2004 - chains of causes are three long; a ring would have no end
        for candidate in (link, getattr(link, "os_error", None)):
            number = getattr(candidate, "errno", None)
            if isinstance(number, int) and number > 0:
                return number
        link = link.__cause__ or link.__context__
        seen += 1
    return None
