"""The daemon's words for a container that could not be removed, which the kubelet repeats. Pure.

moby daemon/delete.go and the layer store, over versions:
- until 17.05 `Driver D failed to remove root filesystem ID: …` (`init filesystem` until 1.9), `Unable to remove filesystem for
  ID: …`;
- until 18.06 `driver "D" failed to remove root filesystem for ID: …`, `unable to remove filesystem for ID: …`;
- from 18.09 on with `container ID: ` before it and without the id behind;
- from 28 on `cannot remove container "NAME": ` before it, and no id at all.
"""

import re

from engine.logparse.reading import Fields, Reading, found_fields

_FAILED = re.compile(
    r'(?:[Dd]river "?(?P<driver>[\w.-]{1,32})"? failed to remove (?:root|init) filesystem|[Uu]nable to remove filesystem)'
    r"(?: for)?(?: (?P<id>[0-9a-f]{6,64})(?:-init)?)?(?=:|\s|$)",
    re.ASCII,
)
_BEFORE = re.compile(r"(?:[Cc]ontainer|RemoveContainer) \"?(?P<id>[0-9a-f]{12,64})\b", re.ASCII)
_NAME = re.compile(r'cannot remove container "/?(?P<name>[^"]{1,255})"', re.ASCII)
_API = re.compile(r"(?P<verb>DELETE|POST) /(?:v(?P<api>\d{1,3}\.\d{1,4})/)?containers/(?P<ref>[\w.-]{1,255})", re.ASCII)
"""`Handler for DELETE /v1.24/containers/REF returned error: …`: the request that the error answered."""

_BUSY = re.compile(r"(?:device or )?resource busy|[Dd]evice is [Bb]usy|dataset is busy|target is busy", re.ASCII)
_PATH = re.compile(
    # Go's *PathError and *LinkError: operation, path, cause
    r"\b(?:remove|removing|unlinkat|unlink|rename|rmdir|u?n?mount|openat?|lstat|stat|readdirent|fdopendir) "
    r"(?P<path>/\S*?)(?=:\s|:?$|\s|\")",
    re.ASCII,
)
_ID = re.compile(r"[0-9a-f]{12,64}", re.ASCII)


def request_of(message: str, end: int | None = None) -> "re.Match[str] | None":
    """The request of the API that a message answers, `verb`, `api` and `ref`; sought before `end`."""
    if "containers/" not in message:
        return None
    return _API.search(message, 0, len(message) if end is None else end)


def is_busy(text: str) -> bool:
    """Whether an error says that something is in use."""
    return "usy" in text and _BUSY.search(text) is not None


def path_and_cause(error: str) -> Fields:
    """`path` and `cause` of a Go error chain: the first path that an operation names, and what stands after the last colon."""
    busy = _BUSY.search(error)
    cause = busy[0] if busy is not None else error.rstrip(" \n\"'.").rpartition(": ")[2].strip()
    path = _PATH.search(error) if " /" in error else None
    return found_fields({"path": path["path"] if path else None, "cause": cause or None})


def read_removal(message: str, values: dict[str, str]) -> Reading | None:
    """`docker_rm_busy` or `docker_rm_failed`, None when no removal failed here.

    Args:
        message: what was said, the error included.
        values: what stood beside it; a container may be named there.
    """
    if (failed := _FAILED.search(message)) is None:
        return None
    before = _BEFORE.search(message, 0, failed.start())
    request = request_of(message, failed.start())
    ids = (failed["id"], before and before["id"], values.get("container"), values.get("containerID"), request and request["ref"])
    fields = found_fields({"driver": failed["driver"], "api": request["api"] if request else None})
    fields |= path_and_cause(message[failed.end() :])
    fields |= found_fields(
        {"container_id": next((found for found in ids if found and (found == ids[0] or _ID.fullmatch(found))), None)}
    )
    name = _NAME.search(message)
    reference = name["name"] if name is not None else request["ref"] if request is not None else None
    if reference is not None and not _ID.fullmatch(reference):
        fields["container_ref"] = reference
    return "docker_rm_busy" if is_busy(message[failed.end() :]) else "docker_rm_failed", fields
