"""Enters a mount namespace and unmounts there. A program of its own: `python -I -S helper.py`, JSON lines in, JSON lines out.

setns(2) refuses a mount namespace to a process that shares its root and current directory with another thread, so this cannot
be done in the sidecar; and `umount` of the holder's image need not exist, nor be trusted. It imports only what it needs and
nothing of this project, because its start is most of its cost.

One request a line:
    {"pid": 812, "started": 90210, "namespace": 4026532250, "mount": 133, "device": "0:41", "lazy": true}
One answer a line:
    {"ok": true, "unmounted": 1, "lazy": false}
    {"ok": false, "kind": "busy", "error": "umount: Device or resource busy"}

Before anything is touched, it is made sure that
- the process is the one that was looked at (start time), in the namespace that was looked at (inode), which is not the host's;
- the mount is still there under its id, on the same device, and neither it nor any mount below it nor the mount it hangs on is
  shared;
- the name in the mount's folder leads to that very mount (its id in /proc/self/fdinfo), whatever the holder does to the
  path meanwhile: the folder is held open, and the last name is never followed if it is a symbolic link.

How it is unmounted: plainly. When that is refused as busy, and only if the request allows, lazily (MNT_DETACH): the mount
leaves the namespace at once, so that the directory below can be removed, and the file system goes when its last user does.
Lazily does not release a file system's device while somebody has a file open on it, and then hides who does: so it is done only
to file systems without a device of their own (overlay, tmpfs), whose place is all that matters, each mount judged by itself.
"""

import ctypes
import errno
import json
import os
import sys
import time

CLONE_NEWNS = 0x00020000
MNT_DETACH = 0x00000002
UMOUNT_NOFOLLOW = 0x00000008

LINE_LIMIT = 65536
"""Bytes of a request; one is about 150."""

NO_DEVICE = b"0:"
"""Major number 0: a file system without a device of its own."""

TRIES = 3
PAUSE_S = 0.1
"""A monitoring program asks its file systems for their size now and then; that takes microseconds."""

_KINDS = {
    errno.EBUSY: "busy",
    errno.EPERM: "denied",
    errno.EACCES: "denied",
    errno.ENOENT: "not_found",
    errno.EINVAL: "not_found",
}
"""EINVAL of umount2(2): it is no mount point any more."""

_libc = ctypes.CDLL(None, use_errno=True)


class NotDoneError(Exception):
    """Why a request is not fulfilled; `kind` is one of the error kinds of an action's outcome."""

    def __init__(self, kind: str, error: str) -> None:
        super().__init__(error)
        self.kind = kind


class Helper:
    """Holds on to the host's /proc, which is out of sight once another namespace has been entered."""

    def __init__(self) -> None:
        self._proc = os.open("/proc", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        # Where the host's is not known, ours may be the host's. (A sidecar in a container may be the very one that holds.)
        self._off_limits = self._namespace_of("1") or self._namespace_of("self")

    def release(self, request: dict[str, int | str | bool]) -> dict[str, int | bool]:
        """Fulfil one request.

        Raises:
            NotDoneError: it is not fulfilled.
        """
        self._enter(int(request["pid"]), int(request["started"]), int(request["namespace"]))
        wanted, device = int(request["mount"]), str(request["device"]).encode()
        mounts = self._mounts()
        if wanted not in mounts or mounts[wanted].device != device:
            raise NotDoneError("not_found", "the mount is gone")
        parent = mounts.get(mounts[wanted].parent)
        if parent is None:
            raise NotDoneError("refused", "it is the root of the namespace")
        order = _from_the_top(wanted, mounts)
        shared = next((mounts[each] for each in (*order, parent.id) if mounts[each].shared), None)
        if shared is not None:
            point = shared.point.decode("utf-8", "backslashreplace")
            raise NotDoneError("refused", f"{point} is shared: unmounting it here would unmount it elsewhere")
        lazily = [self._unmount(mounts[each], lazy=bool(request["lazy"])) for each in order]
        return {"unmounted": len(lazily), "lazy": any(lazily)}

    def _enter(self, pid: int, started: int, namespace: int) -> None:
        try:
            fd = os.open(f"{pid}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._proc)
        except FileNotFoundError as error:
            raise NotDoneError("not_found", "the process that held the mount has ended") from error
        try:
            # Looked at after the namespace was opened: the same process then had it open all the while.
            if self._started(pid) != started or os.fstat(fd).st_ino != namespace:
                raise NotDoneError("not_found", "the process that held the mount has ended or has another namespace now")
            if namespace == self._off_limits:
                raise NotDoneError("refused", "it is the namespace of the host")
            if _libc.setns(fd, CLONE_NEWNS) != 0:
                _fail("setns")
        finally:
            os.close(fd)

    def _unmount(self, mount: "Mount", *, lazy: bool) -> bool:
        """Unmount it; True when only lazily."""
        folder, _, name = mount.point.rpartition(b"/")
        held = os.open(folder or b"/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fchdir(held)
            self._make_sure(name, mount.id)
            for attempt in range(TRIES):
                if _libc.umount2(name, UMOUNT_NOFOLLOW) == 0:
                    return False
                if ctypes.get_errno() != errno.EBUSY:
                    _fail("umount")
                if attempt + 1 < TRIES:
                    time.sleep(PAUSE_S)
            if not (lazy and mount.device.startswith(NO_DEVICE)) or _libc.umount2(name, UMOUNT_NOFOLLOW | MNT_DETACH) != 0:
                _fail("umount")
            return True
        finally:
            os.fchdir(self._proc)
            os.close(held)

    def _make_sure(self, name: bytes, mount: int) -> None:
        """That the name leads to this mount. Closed again before unmounting: an open file would keep the mount busy."""
        fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            ids = [line.split()[1] for line in self._read(f"self/fdinfo/{fd}").splitlines() if line.startswith(b"mnt_id:")]
        finally:
            os.close(fd)
        # Kernels before 3.15 do not show it; there the id in mountinfo, just read, has to do.
        if ids and int(ids[0]) != mount:
            raise NotDoneError("busy", "another mount lies over it")

    def _mounts(self) -> "dict[int, Mount]":
        """The namespace's mounts as this process sees them, from the namespace's own root."""
        lines = (line.split(b" ") for line in self._read("self/mountinfo").split(b"\n") if line)
        return {
            int(fields[0]): Mount(
                int(fields[0]),
                int(fields[1]),
                fields[2],
                _unescape(fields[4]),
                any(field.startswith(b"shared:") for field in fields[6 : fields.index(b"-", 6)]),
            )
            for fields in lines
        }  # fmt: skip

    def _started(self, pid: int) -> int:
        # Field 22 of proc(5); the 20th behind the name, which stands in brackets and may hold anything.
        return int(self._read(f"{pid}/stat").rpartition(b")")[2].split()[19])

    def _namespace_of(self, pid: str) -> int | None:
        try:
            return os.stat(f"{pid}/ns/mnt", dir_fd=self._proc).st_ino
        except OSError:
            return None

    def _read(self, path: str) -> bytes:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._proc)
        with os.fdopen(fd, "rb") as file:
            return file.read()


class Mount:
    """What has to be known of one mount."""

    __slots__ = ("device", "id", "parent", "point", "shared")

    def __init__(self, number: int, parent: int, device: bytes, point: bytes, shared: bool) -> None:
        self.id = number
        self.parent = parent
        self.device = device
        self.point = point
        self.shared = shared


def _from_the_top(wanted: int, mounts: dict[int, Mount]) -> list[int]:
    """This mount and all that hang on it, deepest first: the order in which they can go. What lies over it hangs on it too."""
    order = [wanted]
    for each in order:
        order.extend(mount.id for mount in mounts.values() if mount.parent == each and mount.id != each)
    return order[::-1]


def _unescape(field: bytes) -> bytes:
    """What the kernel escapes in a path: space, tab, line end, # and, last to be put back, the backslash itself."""
    for code, char in ((b"\\040", b" "), (b"\\011", b"\t"), (b"\\012", b"\n"), (b"\\043", b"#"), (b"\\134", b"\\")):
        field = field.replace(code, char)
    return field


def _fail(call: str) -> None:
    number = ctypes.get_errno()
    raise NotDoneError(_KINDS.get(number, "failed"), f"{call}: {os.strerror(number)}")


def answer(helper: Helper, line: bytes) -> dict[str, object]:
    """The answer to one line, whatever stands in it."""
    try:
        return {"ok": True, **helper.release(json.loads(line))}
    except NotDoneError as error:
        return {"ok": False, "kind": error.kind, "error": str(error)}
    except OSError as error:
        return {"ok": False, "kind": _KINDS.get(error.errno or 0, "failed"), "error": f"{error.strerror}: {error.filename!r}"}
    except (ValueError, KeyError, TypeError, IndexError, RecursionError) as error:
        return {"ok": False, "kind": "failed", "error": f"not a request: {error!r}"}


def main() -> None:
    """Answer each line until the input ends."""
    helper = Helper()
    while line := sys.stdin.buffer.readline(LINE_LIMIT):
        sys.stdout.write(json.dumps(answer(helper, line)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
