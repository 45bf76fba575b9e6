"""Sockets and tracked connections."""

import os
from pathlib import Path

import pytest

from connectors.host.sockets import SocketUsage, parse_sockstat
from engine.errors import SourceError
from engine.facts.host import Sockets
from tests.clocks import SYSTEM, FixedClock
from tests.unit.mounts.fakes import AT
from tests.unit.proctree import ProcTree

STAT = "sockets: used 200\nTCP: inuse 40 orphan 0 tw {tw} alloc 50 mem 2\nUDP: inuse 3 mem 1\n"
STAT6 = "TCP6: inuse 2\nUDP6: inuse 1\n"


class Host:
    """A recorded /proc of one network namespace."""

    def __init__(self, folder: Path) -> None:
        self.tree = ProcTree(folder)
        self.tree.add(1, net=7)
        self.tree.add(os.getpid(), net=7)
        (folder / "self").symlink_to(str(os.getpid()))
        self.write("self/net/sockstat", STAT.format(tw=30))
        self.write("self/net/sockstat6", STAT6)

    def write(self, path: str, text: str) -> None:
        file = self.tree.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def source(self) -> SocketUsage:
        return SocketUsage(proc=self.tree.root, clock=FixedClock.of(AT))


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """Without connection tracking."""
    return Host(tmp_path / "proc")


async def look(source: SocketUsage) -> Sockets:
    """The one fact that it emits."""
    (fact,) = await source.look()
    assert isinstance(fact, Sockets)
    return fact


async def test_counts_of_both_families(host: Host) -> None:
    """In use is the sum; TIME_WAIT stands with IPv4 for both; without connection tracking its fields are null."""
    fact = await look(host.source())
    assert (fact.in_use, fact.time_wait, fact.conntrack, fact.conntrack_max, fact.conntrack_ratio) == (42, 30, None, None, None)


async def test_connection_tracking(host: Host) -> None:
    """Count, bound and share."""
    host.write("sys/net/netfilter/nf_conntrack_count", "200\n")
    host.write("sys/net/netfilter/nf_conntrack_max", "1000\n")
    fact = await look(host.source())
    assert (fact.conntrack, fact.conntrack_max, fact.conntrack_ratio) == (200, 1000, 0.2)


async def test_from_a_network_namespace_of_our_own(host: Host) -> None:
    """Then the host's numbers are read through process 1."""
    host.tree.add(1, net=8)
    host.write("1/net/sockstat", STAT.format(tw=5000))
    host.write("1/net/stat/nf_conntrack", "entries  clashres\n000000ff  00000000\n000000ff  00000001\n")
    host.write("sys/net/netfilter/nf_conntrack_count", "1\n")
    host.write("sys/net/netfilter/nf_conntrack_max", "510\n")
    fact = await look(host.source())
    assert (fact.time_wait, fact.conntrack, fact.conntrack_ratio) == (5000, 255, 0.5)


async def test_only_changes_that_matter_are_told(host: Host) -> None:
    """A few more are silence; hundreds more, or a percent of connection tracking, are emitted."""
    host.write("sys/net/netfilter/nf_conntrack_count", "200\n")
    host.write("sys/net/netfilter/nf_conntrack_max", "1000\n")
    source = host.source()
    await look(source)
    host.write("self/net/sockstat", STAT.format(tw=33))
    assert await source.look() == []
    host.write("self/net/sockstat", STAT.format(tw=900))
    assert (await look(source)).time_wait == 900
    host.write("sys/net/netfilter/nf_conntrack_count", "210\n")
    assert (await look(source)).conntrack == 210


async def test_nothing_to_read_is_a_lost_source(tmp_path: Path) -> None:
    """It is named."""
    with pytest.raises(SourceError, match="sockstat"):
        await SocketUsage(clock=SYSTEM, proc=tmp_path).look()


@pytest.mark.parametrize("text", ["", "x", "TCP: inuse", "TCP: inuse x tw 3", ":", "TCP inuse 3"])
def test_lines_that_are_none(text: str) -> None:
    """Left out, or read as far as they go."""
    assert parse_sockstat(text).get("TCP", {}) == {}


async def test_this_machine() -> None:
    """The kernel's own files are understood."""
    assert (await look(SocketUsage(clock=SYSTEM))).in_use >= 0
