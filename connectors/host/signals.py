"""Signals a process that has been verified: never one that took over its process id. Knows nothing of who or why."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

from connectors.sources import proc as processes
from connectors.sources.proc import Stat


class NotSignalledError(Exception):
    """The process is gone, is another one, or is not what it was taken for; nothing was sent."""


def send(
    pid: int, what: signal.Signals, *, is_target: Callable[[Stat], bool], started: int | None = None, proc: Path = processes.PROC
) -> None:
    """Send a signal to this process, if it is the one that is meant.

    A file descriptor of the process (pidfd_open(2), Linux 5.3) is opened first: what is then found out about the pid, and what is
    sent, concerns one and the same process. On older kernels the look comes directly before the signal.

    Args:
        pid: process id on the host.
        what: the signal.
        is_target: says whether this is a process that may get it.
        started: when the process that is meant started; None: whichever has the pid.
        proc: where procfs is.

    Raises:
        NotSignalledError: nothing was sent.
        PermissionError: it may not be signalled (kill(2)).
    """
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError as error:
        raise NotSignalledError("there is no such process any more") from error
    except OSError:
        fd = -1
    try:
        who = processes.stat(pid, proc)
        if who is None or not who.alive or started not in (None, who.started):
            raise NotSignalledError("there is no such process any more")
        if not is_target(who):
            raise NotSignalledError(f"process {pid} ({who.comm}) is not what was meant")
        if fd >= 0:
            signal.pidfd_send_signal(fd, what)
        else:
            os.kill(pid, what)
    except ProcessLookupError as error:
        raise NotSignalledError("there is no such process any more") from error
    finally:
        if fd >= 0:
            os.close(fd)
