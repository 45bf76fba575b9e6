"""Signals reach the process that is meant, or nobody."""

import os
import signal

import pytest

from connectors.host import signals
from tests.unit.host.children import child


def test_the_one_that_is_meant_gets_it() -> None:
    """With the right start time and name it is sent."""
    with child() as (process, who):
        signals.send(process.pid, signal.SIGTERM, is_target=lambda _: True, started=who.started)
        assert process.wait(10) == -signal.SIGTERM


def test_another_under_the_same_pid_does_not() -> None:
    """Another start time: nothing is sent."""
    with child() as (process, who):
        with pytest.raises(signals.NotSignalledError, match="no such process"):
            signals.send(process.pid, signal.SIGKILL, is_target=lambda _: True, started=who.started + 1)
        assert process.poll() is None


def test_the_wrong_kind_does_not() -> None:
    """What the caller is not sure of is spared, and named."""
    with child() as (process, _):
        with pytest.raises(signals.NotSignalledError, match="not what was meant"):
            signals.send(process.pid, signal.SIGKILL, is_target=lambda who: who.comm == "runc")
        assert process.poll() is None


def test_one_that_is_gone() -> None:
    """A pid that nobody has, and a zombie."""
    with pytest.raises(signals.NotSignalledError):
        signals.send(2**22 - 1, signal.SIGKILL, is_target=lambda _: True)
    with child("true") as (process, _):
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        with pytest.raises(signals.NotSignalledError):
            signals.send(process.pid, signal.SIGKILL, is_target=lambda _: True)


def test_on_kernels_without_pidfd(monkeypatch: pytest.MonkeyPatch) -> None:
    """The look comes directly before the signal."""

    def no_pidfd(_: int) -> int:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(os, "pidfd_open", no_pidfd)
    with child() as (process, who):
        with pytest.raises(signals.NotSignalledError):
            signals.send(process.pid, signal.SIGTERM, is_target=lambda _: True, started=who.started + 1)
        signals.send(process.pid, signal.SIGTERM, is_target=lambda _: True, started=who.started)
        assert process.wait(10) == -signal.SIGTERM


def test_no_descriptor_is_left_open() -> None:
    """Whether it was sent or not."""
    with child() as (process, _):
        before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - a count, nothing else
        for _ in range(20):
            with pytest.raises(signals.NotSignalledError):
                signals.send(process.pid, signal.SIGKILL, is_target=lambda _: False)
        assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208 - as above
