"""Finding dockerd and having it write its stacks, with a small program that behaves like it."""

import os
import signal
import socket
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from connectors.host.daemon import catches, find_daemon
from connectors.host.stacks import CollectStacks
from connectors.sources import proc
from tests.lab.waiting import until
from tests.unit.host.children import comm

SCRIPT = """#!/bin/sh
trap 'printf stacks > {folder}/goroutine-stacks-$$.log; printf data > {folder}/daemon-data-$$.log' USR1
: > {folder}/ready
while :; do sleep 0.02; done
"""


class Daemon:
    """A process named dockerd, and the folder that it dumps into."""

    def __init__(self, folder: Path, script: str = SCRIPT) -> None:
        self.folder = folder / "exec"
        self.folder.mkdir()
        program = folder / "dockerd"
        program.write_text(script.format(folder=self.folder))
        program.chmod(0o755)
        self.process = subprocess.Popen([str(program)])
        self.pid_file = folder / "docker.pid"
        self.pid_file.write_text(str(self.process.pid))

    def action(self, within_s: float = 10) -> CollectStacks:
        """The action on it."""
        return CollectStacks(find_daemon=lambda: find_daemon(pid_file=self.pid_file), exec_root=self.folder, within_s=within_s)

    def end(self) -> None:
        """Leave nothing behind."""
        self.process.kill()
        self.process.wait(10)


@pytest_asyncio.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[Daemon]:
    """One that is ready for signals."""
    made = Daemon(tmp_path)
    try:
        await until((made.folder / "ready").exists, what="the daemon to be ready")
        yield made
    finally:
        made.end()


async def test_the_dump_is_collected_and_named(daemon: Daemon) -> None:
    """Both files, by their full names; a second time only the new ones count."""
    outcome = await daemon.action().run({})
    pid = daemon.process.pid
    assert outcome.ok
    assert outcome.detail == f"dockerd wrote {daemon.folder}/daemon-data-{pid}.log, {daemon.folder}/goroutine-stacks-{pid}.log"
    assert daemon.process.poll() is None


async def test_a_stopped_daemon_is_told_apart(daemon: Daemon) -> None:
    """It cannot write now, and will when it goes on; the detail says so."""
    os.kill(daemon.process.pid, signal.SIGSTOP)

    def stopped() -> bool:
        who = proc.stat(daemon.process.pid)
        return who is not None and who.state == "T"

    await until(stopped, what="the daemon to be stopped")
    outcome = await daemon.action(within_s=0.3).run({})
    assert (outcome.ok, outcome.error_kind, outcome.permanent) == (False, "timeout", False)
    assert "stopped" in (outcome.error or "")


async def test_dumps_do_not_fill_the_memory(daemon: Daemon) -> None:
    """With forty files there already nothing is signalled."""
    for number in range(40):
        (daemon.folder / f"goroutine-stacks-{number}.log").touch()
    outcome = await daemon.action().run({})
    assert (outcome.ok, outcome.error_kind, outcome.permanent) == (False, "refused", True)


async def test_no_daemon_is_not_found(tmp_path: Path) -> None:
    """Neither a pid file nor a socket leads to one."""
    action = CollectStacks(find_daemon=lambda: find_daemon(pid_file=tmp_path / "no"), exec_root=tmp_path)
    assert (await action.run({})).error_kind == "not_found"


async def test_a_process_that_would_die_of_the_signal_is_no_daemon(tmp_path: Path) -> None:
    """Named dockerd but without a handler for SIGUSR1: it is not signalled, and lives."""
    made = Daemon(tmp_path, "#!/bin/sh\n: > {folder}/ready\nwhile :; do sleep 0.02; done\n")
    try:
        await until((made.folder / "ready").exists, what="the process to be ready")
        assert comm(made.process.pid) == "dockerd"
        assert (await made.action().run({})).error_kind == "not_found"
        assert made.process.poll() is None
    finally:
        made.end()


@pytest.mark.parametrize("text", ["", "x", "1", "999999999", "-5", "1" * 100])
def test_a_pid_file_with_nonsense(tmp_path: Path, text: str) -> None:
    """A stale or foreign pid file leads to nobody."""
    (tmp_path / "docker.pid").write_text(text)
    assert find_daemon(pid_file=tmp_path / "docker.pid", proc=tmp_path) is None


def test_a_listener_that_is_no_daemon(tmp_path: Path) -> None:
    """The socket leads to this process, which is not dockerd."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s"))
        server.listen(1)
        assert find_daemon(daemon_socket=tmp_path / "s") is None
    assert find_daemon(daemon_socket=tmp_path / "s") is None


def test_handlers_are_seen() -> None:
    """SIGINT has one in Python, SIGUSR2 has none; a process that is gone has none."""
    assert catches(os.getpid(), signal.SIGINT)
    assert not catches(os.getpid(), signal.SIGUSR2)
    assert not catches(2**22 - 1, signal.SIGINT)
