"""Runs a program to its end, bounded in time. Knows nothing of Docker."""

import asyncio
import os
import subprocess
from contextlib import suppress
from typing import IO

PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin:/usr/bin:/bin"
"""Debian keeps dockerd, mosquitto, mkfs and losetup where an ordinary user's path does not look."""


class CommandError(Exception):
    """A program failed; the message is its command line and what it printed."""


def launch(
    *command: str, log: IO[bytes] | None = None, env: dict[str, str] | None = None, at_our_end: str = "TERM"
) -> subprocess.Popen[bytes]:
    """Start a program that goes on in the background, in a session of its own (Ctrl-C ends the tests, and they end it).

    It gets the signal `at_our_end` when the thread that calls this ends, killed or not (prctl(2), PR_SET_PDEATHSIG): call it on
    the main thread. It is bound to no event loop.
    """
    return subprocess.Popen(
        ["setpriv", "--pdeathsig", at_our_end, *command],
        stdin=subprocess.DEVNULL,
        stdout=log or subprocess.DEVNULL,
        stderr=log or subprocess.DEVNULL,
        env={**os.environ, "PATH": PATH} if env is None else env,
        start_new_session=True,
    )


async def run(*command: str, within_s: float = 30.0, stdin: bytes | None = None) -> str:
    """Run it and return what it printed.

    Raises:
        CommandError: it ended with another code than 0.
        TimeoutError: it did not end in time; it was killed.
    """
    code, out, err = await attempt(*command, within_s=within_s, stdin=stdin)
    if code != 0:
        msg = f"{' '.join(command)}: exit {code}: {err or out}"
        raise CommandError(msg)
    return out


async def attempt(
    *command: str, within_s: float = 30.0, stdin: bytes | None = None, env: dict[str, str] | None = None
) -> tuple[int, str, str]:
    """Run it and return its exit code, what it printed, and what it complained of.

    Raises:
        TimeoutError: it did not end in time; it was killed.
    """
    child = await asyncio.create_subprocess_exec(
        *command,
        stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PATH": PATH} if env is None else env,
    )
    try:
        async with asyncio.timeout(within_s):
            out, err = await child.communicate(stdin)
    except BaseException:
        with suppress(ProcessLookupError):
            child.kill()
        await child.wait()
        raise
    return child.returncode or 0, out.decode(errors="replace").strip(), err.decode(errors="replace").strip()
