"""The same log in four shapes: in memory, a file, a kernel ring, a journal. Each can be written, broken and repaired."""

import json
import os
import socket
import stat
import time
from pathlib import Path
from typing import Protocol

from connectors.logs.fake import FakeLogSource, LogInMemory
from connectors.logs.journald import Journald
from connectors.logs.kmsg import KernelRing
from connectors.logs.tail import FileTail
from engine.ports.sources import FactSource
from tests.clocks import SYSTEM
from tests.contract.logs.parts import Words

NAME = "dockerd_log"


class Harness(Protocol):
    """A log that outlives the sources that read it."""

    def source(self) -> FactSource:
        """A new source on the log, as after a restart."""

    def write(self, *lines: bytes) -> None:
        """Lines are added."""

    def forget(self) -> None:
        """What was written is gone before anybody else reads it, and lines have been written that nobody will read."""

    def take_away(self) -> None:
        """The log cannot be read any more (before a source is started)."""

    def give_back(self) -> None:
        """It can be read again."""

    def close(self) -> None:
        """Nothing is left."""


class InMemory:
    """The fake that ships."""

    def __init__(self) -> None:
        self.log = LogInMemory()

    def source(self) -> FactSource:
        """See Harness."""
        return FakeLogSource(self.log, Words(), name=NAME, source="dockerd", clock=SYSTEM)

    def write(self, *lines: bytes) -> None:
        """See Harness."""
        self.log.write(*lines)

    def forget(self) -> None:
        """See Harness."""
        self.log.write(b"never read")
        self.log.forget()

    def take_away(self) -> None:
        """See Harness."""
        self.log.set_broken("taken away")

    def give_back(self) -> None:
        """See Harness."""
        self.log.set_broken(None)

    def close(self) -> None:
        """See Harness."""


class InFile:
    """A real file, followed."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "daemon.log"
        self.path.touch()

    def source(self) -> FactSource:
        """See Harness."""
        return FileTail(str(self.path), Words(), name=NAME, source="dockerd", clock=SYSTEM, poll_s=0.02)

    def write(self, *lines: bytes) -> None:
        """See Harness."""
        with self.path.open("ab") as file:
            file.write(b"".join(line + b"\n" for line in lines))

    def forget(self) -> None:
        """See Harness."""
        self.path.unlink()
        self.path.write_bytes(b"another file\n")

    def take_away(self) -> None:
        """See Harness."""
        self.path.rename(self.path.with_suffix(".away"))

    def give_back(self) -> None:
        """See Harness."""
        self.path.with_suffix(".away").rename(self.path)

    def close(self) -> None:
        """See Harness."""


class InRing:
    """A kernel ring: sockets that keep records apart, as /dev/kmsg does, each beginning with the oldest record that is kept."""

    def __init__(self) -> None:
        self.records: list[bytes] = []
        self.first = 0
        self.broken = False
        self.writers: list[socket.socket] = []

    def open_device(self, path: str) -> int:
        """As open_kmsg does."""
        if self.broken:
            raise FileNotFoundError(2, "No such file or directory", path)
        reader, writer = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        reader.setblocking(False)
        writer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 << 20)
        self.writers.append(writer)
        for record in self.records[self.first :]:
            writer.send(record)
        return reader.detach()

    def source(self) -> FactSource:
        """See Harness."""
        return KernelRing(
            Words(),
            name=NAME,
            source="dockerd",
            clock=SYSTEM,
            path="ring",
            open_device=self.open_device,
            boot="b007",
            kernel=(6, 1),
        )

    def write(self, *lines: bytes) -> None:
        """See Harness."""
        for line in lines:
            text = b"".join(b"\\x%02x" % byte if byte < 32 or byte > 126 or byte == 92 else bytes((byte,)) for byte in line)
            # The kernel cuts a record to 1 KiB or so (PRINTK_MESSAGE_MAX); what it cuts is not there to be read.
            micros = time.monotonic_ns() // 1000
            record = b"6,%d,%d,-;%s\n SUBSYSTEM=test\n" % (len(self.records), micros, text[:12_000])
            self.records.append(record)
            for writer in self.writers[-1:]:
                try:
                    writer.send(record)
                except BrokenPipeError:  # its reader was stopped
                    self.writers.remove(writer)
                    writer.close()

    def forget(self) -> None:
        """See Harness."""
        self.write(b"never read")
        self.first = len(self.records)

    def take_away(self) -> None:
        """See Harness."""
        self.broken = True

    def give_back(self) -> None:
        """See Harness."""
        self.broken = False

    def close(self) -> None:
        """See Harness."""
        for writer in self.writers:
            writer.close()


JOURNALCTL = r'''#!{python} -IS
"""Plays journalctl: shows what stands in a file, from --cursor or --since on, and follows it."""
import json, sys, time
if "--lines=1" in sys.argv:
    sys.exit(print("one"))
begin = next(word for word in sys.argv if word.startswith(("--cursor=", "--since=@")))
assert "--follow" in sys.argv and "--output=json" in sys.argv and "--all" in sys.argv, sys.argv
shown = not begin.startswith("--cursor=")
with open({journal!r}, "rb") as journal:
    line = b""
    while True:
        line = line + journal.readline() if not line.endswith(b"\n") else journal.readline()
        if not line.endswith(b"\n"):
            time.sleep(0.01)
            continue
        cursor = line.partition(b'"__CURSOR": "')[2].partition(b'"')[0].decode()
        if begin.startswith("--cursor=") and not shown:
            # A cursor that is gone: journalctl begins with the nearest entry that is left.
            shown = cursor >= begin[len("--cursor="):]
        if begin.startswith("--since=@"):
            at = int(line.partition(b'"__REALTIME_TIMESTAMP": "')[2].partition(b'"')[0] or 0)
            if at < int(begin[len("--since=@"):]) * 1000000:
                continue
        if shown:
            sys.stdout.buffer.write(line)
            sys.stdout.buffer.flush()
'''


class InJournal:
    """A journal in a file, read by a program that plays journalctl."""

    def __init__(self, folder: Path, python: str) -> None:
        self.journal = folder / "journal"
        self.journal.touch()
        self.program = folder / "journalctl"
        self.program.write_text(JOURNALCTL.format(python=python, journal=str(self.journal)))
        self.program.chmod(stat.S_IRWXU)
        self.written = 0

    def source(self) -> FactSource:
        """See Harness."""
        return Journald(
            Words(), matches=["-u", "docker.service"], name=NAME, source="dockerd", clock=SYSTEM, journalctl=[str(self.program)]
        )

    def write(self, *lines: bytes) -> None:
        """See Harness."""
        with self.journal.open("ab") as file:
            for line in lines:
                entry = {
                    "__CURSOR": f"s=5eed;i={self.written:08x}",
                    "__REALTIME_TIMESTAMP": str(time.time_ns() // 1000),
                    "MESSAGE": line.decode() if line.isascii() and b"\0" not in line else list(line),
                    "_SYSTEMD_UNIT": "docker.service",
                    "_TRANSPORT": "stdout",
                }
                file.write(json.dumps(entry).encode() + b"\n")
                self.written += 1

    def forget(self) -> None:
        """See Harness."""
        self.write(b"never read")
        os.truncate(self.journal, 0)

    def take_away(self) -> None:
        """See Harness."""
        self.program.rename(self.program.with_suffix(".away"))

    def give_back(self) -> None:
        """See Harness."""
        self.program.with_suffix(".away").rename(self.program)

    def close(self) -> None:
        """See Harness."""
