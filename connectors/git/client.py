"""Runs `git`: bounded in time and output, never asking anybody anything. Knows no rules."""

import asyncio
import contextlib
import os
import signal
from pathlib import Path

from engine.errors import SourceError

CALL_S = 60.0
"""A call that takes longer is given up: rules are small, and what is in force stays so."""

OUTPUT_BYTES = 64 * 1024 * 1024
"""Output beyond this is no folder of rules."""


class GitError(SourceError):
    """git refused or did not answer. `status` is its exit status, None when it did not end by itself."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


async def git(*arguments: str, folder: Path | None = None, timeout_s: float = CALL_S) -> bytes:
    """What git prints.

    Args:
        arguments: of the command line.
        folder: the git directory it works on; None for none.
        timeout_s: seconds after which it is killed, with whatever it started (ssh, say).

    Raises:
        GitError: it is not installed, ended with an error, printed too much, or took too long.
    """
    where = ["--git-dir", str(folder)] if folder is not None else []
    try:
        process = await asyncio.create_subprocess_exec(
            "git",
            *where,
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=_environment(),
            start_new_session=True,  # a group of its own: what it starts can be killed with it
        )
    except OSError as error:
        raise GitError(f"git cannot be run: {error.strerror}") from error
    assert process.stdout is not None  # noqa: S101  both are pipes
    assert process.stderr is not None  # noqa: S101
    try:
        async with asyncio.timeout(timeout_s):
            out, said = await asyncio.gather(_bounded(process.stdout, OUTPUT_BYTES), _bounded(process.stderr, 64 * 1024))
            status = await process.wait()
    except TimeoutError as error:
        raise GitError(f"git {arguments[0]} took longer than {timeout_s:.0f} s") from error
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    if len(out) > OUTPUT_BYTES:
        raise GitError(f"git {arguments[0]} printed more than {OUTPUT_BYTES} bytes")
    if status:
        lines = [line for line in said.decode("utf-8", "replace").splitlines() if line.strip()]
        raise GitError(f"git {arguments[0]}: {'; '.join(lines[-3:])[:1000] or f'exit status {status}'}", status)
    return out


async def _bounded(stream: asyncio.StreamReader, limit: int) -> bytes:
    """All of it; beyond the limit it is read on, so that git does not wait, and thrown away."""
    kept = bytearray()
    while chunk := await stream.read(65536):
        if len(kept) <= limit:
            kept += chunk
    return bytes(kept)


def _environment() -> dict[str, str]:
    """Ours, without anything that could ask a person, and without what ties git to another repository."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("GIT_") or name == "GIT_SSH_COMMAND"}
    inherited |= {name: value for name, value in os.environ.items() if name.startswith("GIT_CONFIG")}
    return {
        "GIT_SSH_COMMAND": "ssh -o BatchMode=yes -o ConnectTimeout=20",
        **inherited,
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ASKPASS": "true",  # answers every question with nothing
        "SSH_ASKPASS": "true",
        "GIT_ALLOW_PROTOCOL": "https:http:ssh:git:file",  # no helper programs named in an address (ext::)
        "GIT_OPTIONAL_LOCKS": "0",
        "LC_ALL": "C",
    }
