"""connectors.logs.journald: journalctl at its worst, played by small programs."""

import json
import os
import stat
import sys
import time
from pathlib import Path

import pytest

from connectors.logs import journald
from connectors.logs.journald import Journald
from tests.clocks import SYSTEM
from tests.contract.logs.parts import Remembering, Words, running


def program(folder: Path, body: str) -> str:
    """A program that plays journalctl; its arguments are written down in `args`, one start a line."""
    path = folder / "journalctl"
    script = f"#!{sys.executable} -IS\nimport json, os, signal, sys, time\n"
    script += "if '--lines=1' in sys.argv:\n    sys.exit(print('{}'))\n"
    script += f"open({str(folder / 'args')!r}, 'a').write(json.dumps(sys.argv[1:]) + '\\n')\n"
    script += "def say(n, text, **more):\n"
    script += "    entry = {'__CURSOR': f's=1;i={n}', '__REALTIME_TIMESTAMP': str(time.time_ns() // 1000), 'MESSAGE': text}\n"
    script += "    entry |= {'_TRANSPORT': 'stdout', '_SYSTEMD_UNIT': 'docker.service'} | more\n"
    script += "    print(json.dumps(entry), flush=True)\n"
    path.write_text(script + body)
    path.chmod(stat.S_IRWXU)
    return str(path)


def starts(folder: Path) -> list[list[str]]:
    """The arguments of each start so far."""
    return [json.loads(line) for line in (folder / "args").read_text().splitlines()]


def source(command: str, kind: str = "dockerd") -> Journald:
    """A source that runs it."""
    return Journald(
        Words(), matches=["-u", "docker.service"], name=f"{kind}_log", source=kind, clock=SYSTEM, journalctl=[command]
    )


async def test_how_it_is_asked(tmp_path: Path) -> None:
    """Without a cursor from now on, with one from its entry on; everything in full, as JSON, of this unit only."""
    command = program(tmp_path, "say(1, 'BOOM')\ntime.sleep(60)\n")
    sink = Remembering()
    async with running(source(command), sink):
        await sink.until_events(1)
    async with running(source(command), sink, sink.cursor):
        await sink.until(lambda seen: len(seen.sources) >= 2)
    first, second = starts(tmp_path)
    assert {"--follow", "--output=json", "--all", "--no-tail", "-u", "docker.service"} <= set(first)
    assert any(argument.startswith("--since=@") for argument in first)
    assert "--cursor=s=1;i=1" in second
    assert sink.texts == ["BOOM"]


async def test_is_started_again(tmp_path: Path) -> None:
    """A journalctl that ends is a loss with its last words, and is started again at the cursor; nothing is emitted twice."""
    body = "say(1, 'BOOM 1') if os.path.getsize({args!r}) < 400 else (say(1, 'BOOM 1'), say(2, 'BOOM 2'), time.sleep(60))\n"
    body += "print('the disk is on fire', file=sys.stderr)\nsys.exit(3)\n"
    command = program(tmp_path, body.replace("{args!r}", repr(str(tmp_path / "args"))))
    (tmp_path / "args").write_text(json.dumps(["x" * 200]) + "\n")
    sink = Remembering()
    async with running(source(command), sink):
        await sink.until_status("lost")
        lost = sink.sources[-1]
        await sink.until_events(2)
        await sink.until_status("ok")
    assert "status 3" in (lost.error or "")
    assert "the disk is on fire" in (lost.error or "")
    assert sink.texts == ["BOOM 1", "BOOM 2"]


async def test_start_again_before_any_entry(tmp_path: Path) -> None:
    """Started again before there was an entry, it is asked from the same moment on: nothing falls between two starts."""
    body = f"if len(open({str(tmp_path / 'args')!r}).readlines()) == 1:\n    sys.exit(1)\nsay(1, 'BOOM')\ntime.sleep(60)\n"
    sink = Remembering()
    async with running(source(program(tmp_path, body)), sink):
        await sink.until_events(1)
    first, second = starts(tmp_path)
    assert first == second


async def test_not_installed(tmp_path: Path) -> None:
    """No journalctl: lost, with what to do."""
    sink = Remembering()
    async with running(source(str(tmp_path / "nowhere")), sink):
        emitted = await sink.until_status("lost")
    assert "install" in (emitted.error or "")


async def test_complains_and_shows_nothing(tmp_path: Path) -> None:
    """A journalctl that waits but says it cannot see the journal is no source that is well."""
    command = program(tmp_path, "print('No journal files were found.', file=sys.stderr, flush=True)\ntime.sleep(60)\n")
    sink = Remembering()
    async with running(source(command), sink):
        emitted = await sink.until_status("lost")
    assert "No journal files were found" in (emitted.error or "")


async def test_complains_while_it_runs(tmp_path: Path) -> None:
    """What it complains of later is a gap: something could not be read."""
    body = "say(1, 'BOOM')\ntime.sleep(0.5)\nprint('file is truncated, ignoring', file=sys.stderr, flush=True)\ntime.sleep(60)\n"
    sink = Remembering()
    async with running(source(program(tmp_path, body)), sink):
        emitted = await sink.until_status("gap")
    assert "truncated" in (emitted.error or "")


async def test_flood_of_complaints(tmp_path: Path) -> None:
    """A megabyte of complaints neither blocks the child nor fills memory: its end is kept."""
    body = "sys.stderr.write('complaint\\n' * 100_000 + 'the last word')\nsys.stderr.flush()\nsay(1, 'BOOM')\nsys.exit(1)\n"
    sink = Remembering()
    async with running(source(program(tmp_path, body)), sink):
        await sink.until_events(1)
        emitted = await sink.until_status("lost")
    assert (emitted.error or "").endswith("the last word")
    assert len(emitted.error or "") <= 1024 + 100


async def test_cursor_is_refused(tmp_path: Path) -> None:
    """A journal that does not know the cursor at all: a gap, and the next start does without it."""
    body = "if any(a.startswith('--cursor') for a in sys.argv):\n"
    body += "    sys.exit('Failed to seek to cursor: Invalid argument')\nsay(1, 'BOOM')\ntime.sleep(60)\n"
    sink = Remembering()
    async with running(source(program(tmp_path, body)), sink, "s=0;i=9"):
        await sink.until_events(1)
    assert sink.texts == ["BOOM"]
    assert sum(emitted.lost for emitted in sink.sources[-1:]) == 1


async def test_words_of_containers_are_no_evidence(tmp_path: Path) -> None:
    """What a container prints through dockerd's journald driver makes no fact."""
    body = "say(1, 'BOOM forged', CONTAINER_ID='ab')\nsay(2, 'BOOM')\ntime.sleep(60)\n"
    sink = Remembering()
    async with running(source(program(tmp_path, body)), sink):
        await sink.until_events(1)
    assert sink.texts == ["BOOM"]


async def test_kernel_log_of_journald(tmp_path: Path) -> None:
    """Of the kernel's transport only facility 0 is evidence."""
    body = "say(1, 'BOOM forged', _TRANSPORT='kernel', SYSLOG_FACILITY='1')\nsay(2, 'BOOM forged')\n"
    body += "say(3, 'BOOM', _TRANSPORT='kernel', SYSLOG_FACILITY='0')\ntime.sleep(60)\n"
    sink = Remembering()
    async with running(source(program(tmp_path, body), "kernel"), sink):
        await sink.until_events(1)
    assert sink.texts == ["BOOM"]


async def test_junk_is_counted(tmp_path: Path) -> None:
    """Truncated JSON, nested junk and empty lines are counted; the next entry is emitted."""
    body = (
        "say(1, 'BOOM 1')\nprint('{\"__C')\nprint('[' * 200_000)\nprint()\nsay(2, 'BOOM 2')\nsay(3, {'a': []})\ntime.sleep(60)\n"
    )
    sink = Remembering()
    async with running(source(program(tmp_path, body)), sink):
        await sink.until_events(2)
        await sink.until(lambda seen: seen.sources[-1].lost == 4)
    assert sink.texts == ["BOOM 1", "BOOM 2"]


@pytest.mark.parametrize("stubborn", [False, True])
async def test_ends_with_the_source(tmp_path: Path, stubborn: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The child ends with the source: when it is asked to or, when it does not listen, killed after two seconds at most."""
    monkeypatch.setattr(journald, "STOP_S", 0.3)
    body = "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" if stubborn else ""
    sink = Remembering()
    async with running(source(program(tmp_path, body + "say(1, f'BOOM {os.getpid()}')\ntime.sleep(600)\n")), sink):
        await sink.until_events(1)
        child = int(sink.texts[0].split()[1])
        asked = time.monotonic()
    assert time.monotonic() - asked < 2
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)


async def test_one_that_closes_its_output_and_stays_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not waited for without end: it is killed, reported as lost, and started again."""
    monkeypatch.setattr(journald, "STOP_S", 0.2)
    body = "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nsys.stdout.flush()\nos.close(1)\ntime.sleep(600)\n"
    sink = Remembering()
    async with running(source(program(tmp_path, body)), sink):
        await sink.until_status("lost")
    assert "did not end" in (sink.sources[-1].error or "")


async def test_a_container_cannot_pose_as_dockerd(tmp_path: Path) -> None:
    """Not by any of dockerd's log drivers, nor from below its cgroup, nor from another unit."""
    body = "say(1, 'BOOM forged', _TRANSPORT='syslog')\nsay(2, 'BOOM forged', _TRANSPORT='journal', CONTAINER_ID='ab')\n"
    body += "say(3, 'BOOM forged', _SYSTEMD_CGROUP='/system.slice/docker.service/' + 'a1' * 32)\n"
    body += "say(4, 'BOOM forged', _SYSTEMD_UNIT='other.service')\nsay(5, 'BOOM')\ntime.sleep(60)\n"
    sink = Remembering()
    async with running(source(program(tmp_path, body)), sink):
        await sink.until_events(1)
    assert sink.texts == ["BOOM"]
