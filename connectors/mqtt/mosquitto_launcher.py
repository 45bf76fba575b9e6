"""Becomes Mosquitto: the step between the sidecar and the broker it starts. Run as a script; imports nothing of ours.

    python mosquitto_launcher.py PARENT USER PROGRAM [ARGUMENT …]

It gives up root for USER (`-`: stays who it is), asks the kernel to be terminated when its parent dies, however that dies
(prctl(2), PR_SET_PDEATHSIG), and executes PROGRAM in its own place. A step of its own, because the kernel clears the setting when
the user changes, which Mosquitto started as root does, and because Python between fork and exec (`preexec_fn`) is unsafe beside
threads.
"""

import ctypes
import os
import pwd
import signal
import sys

_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>


def main(parent: int, user: str, command: list[str]) -> None:
    """Never returns: the process is another one then."""
    if user != "-":
        entry = pwd.getpwnam(user)
        os.setgroups([])
        os.setgid(entry.pw_gid)
        os.setuid(entry.pw_uid)
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    # The parent may have died before the kernel was asked: then no signal would come.
    if os.getppid() != parent:
        sys.exit(1)
    os.execv(command[0], command)  # noqa: S606  no shell is wanted


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3:])
