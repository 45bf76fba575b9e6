"""Troubles of the host itself: a file system that is small and fills, and a host name that changes."""

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.lab import leftovers
from tests.lab.commands import launch, run
from tests.lab.waiting import until

MIB = 1 << 20


class SmallDisk:
    """A small ext4 of its own, mounted from a file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        """Mount point."""

    @property
    def used_ratio(self) -> float:
        """Used share of what ordinary users may use, 0 to 1, as df(1) has it."""
        usage = os.statvfs(self.path)
        used = usage.f_blocks - usage.f_bfree
        return used / (used + usage.f_bavail)


@asynccontextmanager
async def small_disk(size_mb: int = 64) -> AsyncIterator[SmallDisk]:
    """Mount an ext4 of so many MiB; it is unmounted and gone on leaving, whatever still uses it."""
    folder = Path(tempfile.mkdtemp(prefix=leftovers.PREFIX))
    try:
        leftovers.claim(folder)
        image, point = folder / "disk.img", folder / "disk"
        point.mkdir()
        with image.open("wb") as file:
            file.truncate(size_mb * MIB)
        await run("mkfs.ext4", "-q", "-F", str(image))
        # The loop device goes with the mount (mount(8), autoclear).
        await run("mount", "-o", "loop", str(image), str(point))
        yield SmallDisk(point)
    finally:
        await asyncio.to_thread(leftovers.delete, folder)


@asynccontextmanager
async def fill(folder: Path, ratio: float, *, name: str = "filling") -> AsyncIterator[Path]:
    """Fill the file system that this folder is on up to that share (as df has it) with one file, which goes on leaving."""
    path = folder / name
    usage = os.statvfs(folder)
    used = usage.f_blocks - usage.f_bfree
    blocks = int(ratio * (used + usage.f_bavail)) - used
    try:
        with path.open("wb") as file:
            if blocks > 0:
                os.posix_fallocate(file.fileno(), 0, blocks * usage.f_frsize)
        yield path
    finally:
        path.unlink(missing_ok=True)


class UtsNamespace:
    """A host name of its own, for what is started in it (uts_namespaces(7)). It outlives what is started in it."""

    def __init__(self, holder: int) -> None:
        self._path = f"/proc/{holder}/ns/uts"

    @property
    def prefix(self) -> tuple[str, ...]:
        """What to put before a command line to run it under that name."""
        return ("nsenter", f"--uts={self._path}", "--")

    async def rename(self, name: str) -> None:
        """Give the host another name."""
        await run(*self.prefix, "hostname", name)

    async def name(self) -> str:
        """What the host is called."""
        return await run(*self.prefix, "hostname")


@asynccontextmanager
async def uts_namespace(name: str) -> AsyncIterator[UtsNamespace]:
    """Make a UTS namespace in which the host has this name; the machine's own name is not touched."""
    holder = launch("unshare", "--uts", "sleep", "infinity", at_our_end="KILL")
    try:
        own = Path("/proc/self/ns/uts").readlink()
        await until(lambda: Path(f"/proc/{holder.pid}/ns/uts").readlink() != own, what="the UTS namespace")
        namespace = UtsNamespace(holder.pid)
        await namespace.rename(name)
        yield namespace
    finally:
        holder.kill()
        await until(lambda: holder.poll() is not None, what="the namespace's holder to end")
