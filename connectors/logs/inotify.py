"""Waits until there is something to read: from any descriptor, and for a file that is written. Knows nothing of what is read.

Files are watched by inotify(7), which costs nothing while nothing happens: waking the process four times a second to look costs
0.06 % of a core for each file, more than the look itself. What inotify does not report (another file under the old name, a
symbolic link that is swapped, a network file system) is found by looking every other second all the same.
"""

import asyncio
import ctypes
import os
from contextlib import suppress

_IN_MODIFY = 0x2
_IN_ATTRIB = 0x4
_IN_DELETE_SELF = 0x400
_IN_MOVE_SELF = 0x800
_WANTED = _IN_MODIFY | _IN_ATTRIB | _IN_DELETE_SELF | _IN_MOVE_SELF
"""Written or truncated; number of links changed, which is how a deletion shows while the file is open; deleted; renamed
(linux/inotify.h)."""

_EVENTS_BYTES = 65_536
"""Read at once. What the events say does not matter, and equal ones are merged by the kernel."""

_libc = ctypes.CDLL(None, use_errno=True)


async def readable(descriptor: int, timeout_s: float) -> None:
    """Wait until there is something to read, for `timeout_s` seconds at most.

    Nobody watches it while it is being read: a reader that is registered all the time would wake the loop again and again while
    Docker is behind.
    """
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    loop.add_reader(descriptor, lambda: None if ready.done() else ready.set_result(None))
    try:
        await asyncio.wait([ready], timeout=timeout_s)
    finally:
        loop.remove_reader(descriptor)
        ready.cancel()


class FileWatch:
    """Watches one open file at a time. Where inotify is not to be had, `wait` is a sleep."""

    def __init__(self) -> None:
        self._descriptor = _libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        self._watched: tuple[int, int] | None = None
        self._watch = -1

    @property
    def works(self) -> bool:
        """The file is watched: writing to it ends `wait`. False when this user has too many watches, say."""
        return self._watch >= 0

    def watch(self, descriptor: int, identity: tuple[int, int]) -> bool:
        """Watch the file that is open as `descriptor`. True when that is new, False when it was watched already or cannot be.

        Args:
            descriptor: of the file. Naming it through /proc/self/fd finds it also when its name is another's by now.
            identity: device and inode.
        """
        if self._descriptor < 0 or identity == self._watched:
            return False
        self.forget()
        self._watch = _libc.inotify_add_watch(self._descriptor, f"/proc/self/fd/{descriptor}".encode(), _WANTED)
        self._watched = identity
        return self.works

    def forget(self) -> None:
        """Watch nothing."""
        if self._watch >= 0:
            _libc.inotify_rm_watch(self._descriptor, self._watch)
        self._watch, self._watched = -1, None

    async def wait(self, timeout_s: float) -> None:
        """Wait until the file is written, renamed or deleted, for `timeout_s` seconds at most."""
        if not self.works:
            await asyncio.sleep(timeout_s)
            return
        await readable(self._descriptor, timeout_s)
        with suppress(BlockingIOError):
            os.read(self._descriptor, _EVENTS_BYTES)

    def close(self) -> None:
        """Give the descriptor back; a second time does nothing."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = self._watch = -1
