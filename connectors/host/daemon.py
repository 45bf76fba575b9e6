"""Finds dockerd's process. Knows nothing of what it is needed for."""

import os
import signal
import socket
import struct
from pathlib import Path

from connectors.sources import proc as processes
from connectors.sources.proc import Stat

NAMES = frozenset({"dockerd", "dockerd-current", "docker", "docker-current"})
"""`docker daemon` up to 1.11; `-current` on Red Hat's own builds."""

_CREDENTIALS = struct.Struct("3i")
_CONNECT_LIMIT_S = 1.0
_PID_FILE_LIMIT = 32


def is_daemon(who: Stat, proc: Path = processes.PROC) -> bool:
    """True for a daemon's daemon. `docker` alone is also the command line's name: that one catches no SIGUSR1."""
    return who.comm in NAMES and catches(who.pid, signal.SIGUSR1, proc)


def catches(pid: int, what: signal.Signals, proc: Path = processes.PROC) -> bool:
    """True when the process has a handler for this signal: one that has none would be ended by it (proc(5), SigCgt)."""
    for line in (processes.read(proc / str(pid) / "status") or b"").splitlines():
        if line.startswith(b"SigCgt:"):
            return bool(int(line.split()[1], 16) >> (what - 1) & 1)
    return False


def find_daemon(*, pid_file: Path | None = None, daemon_socket: Path | None = None, proc: Path = processes.PROC) -> Stat | None:
    """The daemon that wrote this pid file, or listens on this socket; None when neither leads to one.

    Where systemd listens on Docker's behalf (socket activation) the socket leads to process 1; then the daemon is the only
    one there is, or it is not known. Blocks for up to a second: call it in a thread.
    """
    candidates = (_from_file(pid_file), _listener(daemon_socket))
    for pid in candidates:
        who = None if pid is None else processes.stat(pid, proc)
        if who is not None and who.alive and is_daemon(who, proc):
            return who
    if 1 not in candidates:
        return None
    daemons = [who for who in processes.stats(proc) if who.alive and is_daemon(who, proc)]
    return daemons[0] if len(daemons) == 1 else None


def _from_file(path: Path | None) -> int | None:
    raw = None if path is None else processes.read(path, _PID_FILE_LIMIT)
    return int(raw) if raw is not None and raw.strip().isdigit() else None


def _listener(path: Path | None) -> int | None:
    """Process that listens on a unix socket: the peer's credentials are those of who called listen(2) (unix(7)).

    Connecting works with a daemon that is stopped or hung, too: the kernel accepts on its behalf.
    """
    if path is None:
        return None
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.settimeout(_CONNECT_LIMIT_S)
            client.connect(os.fspath(path))
            pid, _, _ = _CREDENTIALS.unpack(client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    except OSError:
        return None
    # 0: it listens in a process id namespace that we do not see into.
    return int(pid) or None
