"""A real journald and a real journalctl, in a mount namespace of their own: nothing of the host's journal is touched."""

import asyncio
import ctypes
import errno
import os
import signal
import socket
import struct
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import uvloop

from connectors.logs.journald import KERNEL_MATCHES, Journald
from tests.clocks import SYSTEM
from tests.contract.logs.parts import Remembering, Words, running
from tests.lab.commands import launch
from tests.lab.waiting import until

pytestmark = pytest.mark.live

LOOPS = [asyncio.new_event_loop, uvloop.new_event_loop]

START = """
set -e
mount --make-rprivate /
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /var/log
mkdir -p /run/systemd/journal /run/log/journal
[ -s /etc/machine-id ] || { echo 0123456789abcdef0123456789abcdef > /run/id; mount --bind /run/id /etc/machine-id; }
exec /lib/systemd/systemd-journald
"""

CORE_DUMP = {"MESSAGE_ID": b"fc2e22bc6ee647b6b90729ab34a250b1", "COREDUMP_UNIT": b"docker.service"}
"""What `journalctl -u docker.service` selects beside what the unit's own processes say: root's reports of its core dumps."""

STREAM = b"dockerd\ndocker.service\n6\n0\n0\n0\n0\n"
"""Head of a stream into journald, as systemd opens one for what a unit prints: name, unit, priority, and four switches."""


class Journal:
    """A journald that runs for a test."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.journalctl = ["nsenter", "--target", str(pid), "--mount", "--root", "journalctl"]
        self.socket = f"/proc/{pid}/root/run/systemd/journal/socket"
        self._stream: socket.socket | None = None

    def send(self, message: bytes) -> None:
        """One line of what the unit prints, all in one stream."""
        if self._stream is None:
            self._stream = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self._stream.connect(self.socket.replace("journal/socket", "journal/stdout"))
            self._stream.sendall(STREAM)
        self._stream.sendall(message + b"\n")

    def close(self) -> None:
        """End the stream."""
        if self._stream is not None:
            self._stream.close()

    def forge(self, message: bytes, **fields: bytes) -> None:
        """One entry that anybody may send, in journald's native protocol (systemd.io/JOURNAL_NATIVE_PROTOCOL)."""
        everything = {"MESSAGE": message, "PRIORITY": b"6"} | CORE_DUMP | fields
        data = b"".join(name.encode() + b"\n" + struct.pack("<Q", len(text)) + text + b"\n" for name, text in everything.items())
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
            client.connect(self.socket)
            client.send(data)

    def source(self, *matches: str, kind: str = "dockerd") -> Journald:
        """A source that reads it with the real journalctl."""
        selected = matches or ["-u", "docker.service"]
        return Journald(Words(), matches=selected, name="log", source=kind, clock=SYSTEM, journalctl=self.journalctl)


@asynccontextmanager
async def journal() -> AsyncIterator[Journal]:
    """Start one, and end it."""
    child = launch("unshare", "--mount", "sh", "-c", START)
    try:
        running_journal = Journal(child.pid)
        await until(lambda: Path(running_journal.socket).exists(), what="journald's socket")
        yield running_journal
        running_journal.close()
    finally:
        child.terminate()
        await asyncio.to_thread(child.wait, 10)


@pytest.mark.parametrize("loop", LOOPS)
def test_entries_restart_and_cursor(loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    """Entries of the unit become facts: plain, binary and huge ones; after a restart it goes on at its cursor, without a gap."""

    async def body() -> None:
        sink = Remembering()
        async with journal() as log:
            log.send(b"BOOM before")
            await until(
                lambda: b"before" in subprocess.check_output([*log.journalctl, "-u", "docker.service"]), what="the first entry"
            )
            async with running(log.source(), sink):
                await sink.until_status("ok")
                log.send(b"BOOM plain")
                log.send(b"BOOM binary \x01\xff")
                log.send(b"BOOM huge " + b"x" * 50_000)
                log.forge(b"BOOM of another unit", COREDUMP_UNIT=b"other.service")
                log.forge(b"BOOM of a container", CONTAINER_ID=b"ab")
                log.forge(b"BOOM about the unit")
                log.send(b"BOOM last")
                await sink.until_events(4)
            log.send(b"BOOM meanwhile")
            async with running(log.source(), sink, sink.cursor):
                await sink.until_events(5)
                log.send(b"BOOM again")
                await sink.until_events(6)
        emitted = [text[:40].rstrip("x") for text in sink.texts]
        assert emitted == ["BOOM plain", "BOOM binary \x01\ufffd", "BOOM huge ", "BOOM last", "BOOM meanwhile", "BOOM again"]
        assert len({fact.fact_id for fact in sink.events}) == 6
        assert [fact.status for fact in sink.sources][-1] == "ok"

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(body())


async def test_kernel_by_journald() -> None:
    """What the kernel says comes by journald, too; what a process wrote to /dev/kmsg does not count."""
    sink = Remembering()
    async with journal() as log, running(log.source(*KERNEL_MATCHES, kind="kernel"), sink):
        await sink.until_status("ok")
        descriptor = os.open("/dev/kmsg", os.O_WRONLY)
        os.write(descriptor, b"BOOM forged")
        os.close(descriptor)
        libc = ctypes.CDLL(None, use_errno=True)
        assert libc.mount(b"none", b"/proc", b"tmpfs", 0, b"BOOM") == -1
        assert ctypes.get_errno() == errno.EINVAL
        await sink.until_events(1)
    assert not any("forged" in text for text in sink.texts)


async def test_journalctl_is_killed() -> None:
    """A journalctl that is killed is a loss; the next one goes on where it was, and nothing is missing or emitted twice."""
    sink = Remembering()
    async with journal() as log, running(log.source(), sink):
        await sink.until_status("ok")
        log.send(b"BOOM 1")
        await sink.until_events(1)
        for child in _children("journalctl"):
            os.kill(child, signal.SIGKILL)
        log.send(b"BOOM 2")
        await sink.until_status("lost")
        await sink.until_events(2)
        await sink.until_status("ok")
    assert sink.texts == ["BOOM 1", "BOOM 2"]
    assert not _children("journalctl")


async def test_no_journal() -> None:
    """Where no journald ever ran, the source says that nothing can be seen, with what to do."""
    command = ["unshare", "--mount", "sh", "-c"]
    command.append('mount --make-rprivate /; mount -t tmpfs tmpfs /run; mount -t tmpfs tmpfs /var/log; exec journalctl "$@"')
    command.append("sh")
    sink = Remembering()
    source = Journald(Words(), matches=["-u", "docker.service"], name="log", source="dockerd", clock=SYSTEM, journalctl=command)
    async with running(source, sink):
        emitted = await sink.until_status("lost")
    assert "is journald running" in (emitted.error or "")


def _children(name: str) -> list[int]:
    """Processes of this name that descend from this one."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                status = (entry / "stat").read_text(encoding="utf-8", errors="replace")
            except OSError:
                continue
            comm, _, rest = status.partition("(")[2].rpartition(")")
            if comm == name and int(rest.split()[1]) == os.getpid():
                found.append(int(entry.name))
    return found
