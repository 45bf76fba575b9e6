r"""Reads /proc/PID/mountinfo (proc_pid_mountinfo(5)). Pure; knows nothing of containers.

    36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue
    (1)(2)(3)   (4)   (5)      (6)     (7)    (8) (9)   (10)         (11)

Names are bytes: a directory may be called anything but `/` and NUL. In the file, space, tab, line end and backslash stand as
`\040`, `\011`, `\012`, `\134` (and `#` as `\043`).
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

_OCTAL = re.compile(rb"\\([0-7]{3})")
_DELETED = b"//deleted"
"""Behind the root of a bind mount whose directory was removed since (fs/proc_namespace.c)."""

_BEFORE_OPTIONAL = 6
_AFTER_SEPARATOR = 3


@dataclass(frozen=True, slots=True)
class Mount:
    """One mount of a namespace."""

    id: int
    parent: int
    device: bytes
    """`major:minor`."""
    root: bytes
    """The directory of its file system that shows at `point`; without the mark of a deleted one."""
    point: bytes
    """Where it is mounted, as the process sees it."""
    shared: int | None
    """Peer group: mounts and unmounts below it happen in all its peers too. None: not shared."""
    master: int | None
    """Peer group it receives from. None: no slave."""
    fstype: bytes
    source: bytes
    options: bytes
    """Options of the file system (super options), in which overlay names its directories."""


def unescape(raw: bytes) -> bytes:
    """A field as it was before the kernel escaped it."""
    if b"\\" not in raw:
        return raw
    return _OCTAL.sub(lambda found: bytes((int(found.group(1), 8) & 0xFF,)), raw)


def parse_line(line: bytes) -> Mount | None:
    """One line; None when it is no line of mountinfo."""
    fields = line.split(b" ")
    try:
        separator = fields.index(b"-", _BEFORE_OPTIONAL)
        root = unescape(fields[3])
        return Mount(
            id=int(fields[0]),
            parent=int(fields[1]),
            device=fields[2],
            root=root.removesuffix(_DELETED) or b"/",
            point=unescape(fields[4]),
            shared=_tag(fields[_BEFORE_OPTIONAL:separator], b"shared:"),
            master=_tag(fields[_BEFORE_OPTIONAL:separator], b"master:"),
            fstype=fields[separator + 1],
            source=unescape(fields[separator + 2]),
            options=unescape(fields[separator + _AFTER_SEPARATOR]) if len(fields) > separator + _AFTER_SEPARATOR else b"",
        )
    except (ValueError, IndexError):
        return None


def _tag(optional: Iterable[bytes], name: bytes) -> int | None:
    for field in optional:
        if field.startswith(name):
            return int(field[len(name) :])
    return None


def parse(text: bytes) -> dict[int, Mount]:
    """All mounts of a namespace by id, in the file's order; lines that are none are left out."""
    mounts = (parse_line(line) for line in text.split(b"\n") if line)
    return {mount.id: mount for mount in mounts if mount is not None}


def place(mount: Mount, mounts: dict[int, Mount]) -> tuple[bytes, bytes] | None:
    """The directory it is mounted on: device, and path within that device's file system.

    This is what the kernel looks at when that directory is to be removed, and it is the same in every namespace, whatever
    way the mount point is reached by. None for the root of the namespace, whose parent is not in the file.
    """
    parent = mounts.get(mount.parent)
    if parent is None or parent.id == mount.id:
        return None
    below = _below(mount.point, parent.point)
    if below is None:
        return None
    return parent.device, (parent.root.rstrip(b"/") + below) or b"/"


def subtree(mount: Mount, mounts: dict[int, Mount]) -> list[Mount]:
    """A mount and all that hang on it, however deep: what goes with it when it is unmounted."""
    found = [mount]
    for each in found:
        found.extend(other for other in mounts.values() if other.parent == each.id and other.id != each.id)
    return found


def holding(path: bytes, mounts: dict[int, Mount]) -> tuple[bytes, bytes] | None:
    """Where a path lies: device, and path within that device's file system. None when no mount is above it."""
    best: Mount | None = None
    for mount in mounts.values():
        # Of several on one point the last is on top (they are listed in the order in which they were mounted).
        if _below(path, mount.point) is not None and (best is None or len(mount.point) >= len(best.point)):
            best = mount
    if best is None:
        return None
    return best.device, (best.root.rstrip(b"/") + (_below(path, best.point) or b"")) or b"/"


def _below(path: bytes, folder: bytes) -> bytes | None:
    """What of `path` stands behind `folder`: empty when they are the same, None when it is not below."""
    folder = folder.rstrip(b"/")
    if path.rstrip(b"/") == folder:
        return b""
    return path[len(folder) :] if path.startswith(folder + b"/") else None
