"""Any string is ordinary input: nothing raises, everything is bounded, and a fact is always printable JSON."""

import json
import time
import unicodedata
from typing import Literal, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.logparse import LineParser, LogSource, ReportAssembler
from engine.logparse.prefilter import TRIGGERS
from tests.unit.logparse.support import ID, NOW
from tests.unit.logparse.test_dockerd import LINES as DOCKERD
from tests.unit.logparse.test_framing import PREFIXES
from tests.unit.logparse.test_kernel import LINES as KERNEL
from tests.unit.logparse.test_kubelet import LINES as KUBELET
from tests.unit.logparse.test_reports import NEW, OLD

SOURCES: tuple[LogSource, ...] = get_args(LogSource)
REAL = [line for line, _, _ in (*KERNEL, *DOCKERD, *KUBELET)] + NEW + OLD

junk = st.text(alphabet=st.characters(), max_size=60)
pieces = st.lists(st.one_of(st.sampled_from(REAL), st.sampled_from(PREFIXES), st.sampled_from(REAL).flatmap(
    lambda line: st.tuples(st.integers(0, len(line)), st.integers(0, len(line))).map(lambda cut: line[min(cut) : max(cut)])
), junk), max_size=5).map("".join)  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(source=st.sampled_from(SOURCES), lines=st.lists(pieces, max_size=8))
def test_never_raises(source: LogSource, lines: list[str]) -> None:
    """Junk, cut and mixed lines: the parser and the assembler take them, and what they say is printable JSON."""
    parser, assembler = LineParser(source), ReportAssembler(source)
    for line in lines:
        fact = parser.feed(line, NOW)
        for told in [*([fact] if fact is not None else []), *assembler.feed(line, NOW)]:
            text = json.loads(json.dumps(told.to_json_dict()))["text"]
            assert len(text) <= 4096
            assert not [letter for letter in text if unicodedata.category(letter) in ("Cc", "Cs") and letter not in "\n\t"]
    assembler.flush(NOW)
    assert assembler.pending_since is None


HOSTILE = {
    "nested": '{"msg":' + "[" * 100_000,
    "long-number": '{"msg":"no space left on device","n":' + "9" * 50_000 + "}",
    "brackets": 'msg="no space left on device" ' + "a=[ " * 16_000,
    "quotes": 'msg="no space left on device" ' + 'a="' * 20_000,
    "slashes": "/" * 65_000 + ": no space left on device x",
    "spaces": "a" + " " * 65_000 + "kernel: oom-kill:",
    "tokens": "a " * 32_000 + "oom-kill:",
    "evictions": "eviction manager: pods " * 2_800,
    "pods": "eviction manager: pods ranked for eviction: " + "a" * 60_000,
    "summary": "oom-kill:constraint=CONSTRAINT_MEMCG" + ",oom_memcg=/a,task_memcg=/b,task=c" * 1_900,
    "cpusets": "oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null)" + ",cpuset=/a,mems_allowed=0" * 2_600,
    "killed": "Killed process 1 (" + ") total-vm " * 5_900,
    "sizes": "Killed process 1 (a) total-vm:1kB" + ", anon-rss:1kB" * 4_600,
    "removal": f'driver "x" failed to remove root filesystem for {ID}' + " remove /a" * 6_000,
    "unmount": "umount " * 9_000,
    "escapes": "3,1,1,-;Out of memory: " + "\\x41" * 16_000,
    "xfs": "XFS (a): " + "metadata I/O error" * 3_600,
    "megabyte": "Out of memory: Killed process 1 (a) " + "x" * 1_000_000,
}  # fmt: skip


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("name", HOSTILE)
def test_bounded_time(source: Literal["kernel", "dockerd", "kubelet"], name: str) -> None:
    """Lines made to be slow to match are not: none takes more than a fraction of a second, where quadratic patterns take many."""
    parser, assembler = LineParser(source), ReportAssembler(source)
    start = time.process_time()
    parser.feed(HOSTILE[name], NOW)
    assembler.feed(HOSTILE[name], NOW)
    assert time.process_time() - start < 2.0


def test_control_characters_in_names() -> None:
    """A task may call itself anything; its name reaches a fact without control characters."""
    fact = LineParser("kernel").feed("Killed process 1 (a\x1b]0;x\x07\udcff) total-vm:1kB, anon-rss:1kB, file-rss:1kB", NOW)
    assert fact is not None
    assert fact.to_json_dict()["comm"] == "a\ufffd]0;x\ufffd\ufffd"


@pytest.mark.parametrize("source", SOURCES)
def test_every_trigger_is_needed(source: LogSource) -> None:
    """Each word that makes a line worth a look stands in some line that is recognised, or belongs to a report."""
    lines = [line for line, name, _ in (*KERNEL, *DOCKERD, *KUBELET) if name is not None] + NEW + OLD
    lines += ["Out of Memory: Killed process 1 (a).", "No available memory in cpuset: kill process 1 (a) score 1 or a child"]
    lines += ["xfs_force_shutdown(dm-0,0x1) called", 'Filesystem "dm-0": x. Shutting down filesystem: dm-0']
    lines += [
        "TCP: Out of socket memory",
        "Remounting filesystem read-only",
        "memory.oom.group",
        "container did not start before",
    ]
    lines += [
        'msg="containerd: start container"',
        "unable to configure the Docker daemon with file x",
        "Error starting daemon: x",
    ]
    assert [word for word in TRIGGERS[source] if not any(word in line for line in lines)] == []
