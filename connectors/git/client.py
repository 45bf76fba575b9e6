"""Runs `git`: bounded in time and output, never asking anybody anything, never in a repository of others. Knows no rules.

Settings that git reads are the operator's (system and global) and those of a directory of our own. No hook, attribute, filter,
file system monitor or pager is ever run, whoever set it.
"""

import asyncio
import base64
import contextlib
import os
import signal
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

from engine.errors import SourceError

CALL_S = 60.0
"""A call that takes longer is given up: rules are small, and what is in force stays so."""

OUTPUT_BYTES = 64 * 1024 * 1024
"""Output beyond this is no folder of rules."""

END_S = 2.0
"""Seconds that a killed git may take to end. One stuck in the kernel goes when the kernel lets it; it is not waited for."""

_NOTHING_RUNS = (
    *("-c", "core.hooksPath=/dev/null"),
    *("-c", "core.fsmonitor=false"),
    *("-c", "core.attributesFile=/dev/null"),
    *("-c", "safe.bareRepository=explicit"),
    *("-c", "gc.auto=0"),  # it would go on in the background
    *("-c", "maintenance.auto=false"),
    *("-c", "protocol.ext.allow=never"),
    *("-c", "submodule.recurse=false"),
    *("-c", "fetch.recurseSubmodules=false"),
)


class GitError(SourceError):
    """git refused or did not answer. `status` is its exit status, None when it did not end by itself."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Address:
    """Where a repository is, fit to be shown and to stand on a command line; its secret apart."""

    url: str
    header: str = field(default="", repr=False)
    """HTTP header with the credentials; empty for none."""

    @classmethod
    def parse(cls, text: str) -> "Address":
        """A URL, whose credentials come out of it, or a path."""
        try:
            parts = urlsplit(text)
            user, at, host = parts.netloc.rpartition("@")
        except ValueError:
            return cls(text.rpartition("@")[2])
        if not at or not parts.scheme:
            return cls(text)
        if parts.scheme not in ("http", "https"):
            name = user.partition(":")[0]
            return cls(urlunsplit(parts._replace(netloc=f"{name}@{host}" if name else host)))
        name, _, password = user.partition(":")
        basic = base64.b64encode(f"{unquote(name)}:{unquote(password)}".encode()).decode()
        return cls(urlunsplit(parts._replace(netloc=host)), f"Authorization: Basic {basic}")


async def git(
    *arguments: str,
    folder: Path | None = None,
    objects: Path | None = None,
    own_settings: bool = True,
    address: Address | None = None,
    feed: bytes = b"",
    timeout_s: float = CALL_S,
) -> bytes:
    """What git prints.

    Args:
        arguments: of the command line.
        folder: the git directory it works on, one of our own; None for none.
        objects: where it reads objects, instead of in that directory.
        own_settings: whether the operator's settings count (whose signatures are good, proxies).
        address: whose credentials go along, by the environment: a command line can be read by everybody.
        feed: for its standard input.
        timeout_s: seconds after which it is killed, with whatever it started (ssh, say).

    Raises:
        GitError: it is not installed, ended with an error, printed too much, or took too long.
    """
    where = ["--git-dir", str(folder)] if folder is not None else []
    try:
        process = await asyncio.create_subprocess_exec(
            "git",
            "--no-pager",
            *_NOTHING_RUNS,
            *where,
            *arguments,
            stdin=asyncio.subprocess.PIPE if feed else asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=_environment(objects, address, own_settings=own_settings),
            cwd="/",  # no repository is found by where we happen to stand
            start_new_session=True,  # a group of its own: what it starts can be killed with it
        )
    except OSError as error:
        raise GitError(f"git cannot be run: {error.strerror}") from error
    assert process.stdout is not None  # noqa: S101  both are pipes
    assert process.stderr is not None  # noqa: S101
    try:
        async with asyncio.timeout(timeout_s):
            out, said, _ = await asyncio.gather(
                _bounded(process.stdout, OUTPUT_BYTES), _bounded(process.stderr, 64 * 1024), _feed(process.stdin, feed)
            )
            status = await process.wait()
    except TimeoutError as error:
        raise GitError(f"git {arguments[0]} took longer than {timeout_s:.0f} s") from error
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), END_S)
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


async def _feed(stream: asyncio.StreamWriter | None, data: bytes) -> None:
    if stream is None:
        return
    with contextlib.suppress(ConnectionError):  # it ended without reading: its exit status says why
        stream.write(data)
        await stream.drain()
        stream.close()


def _environment(objects: Path | None, address: Address | None, *, own_settings: bool) -> dict[str, str]:
    """Ours, without anything that could ask a person, and without what ties git to another repository."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("GIT_") or name == "GIT_SSH_COMMAND"}
    if own_settings:
        inherited |= {name: value for name, value in os.environ.items() if name.startswith("GIT_CONFIG")}
    else:
        inherited |= {"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": "/dev/null"}
    if objects is not None:
        inherited["GIT_OBJECT_DIRECTORY"] = str(objects)
    if address is not None and address.header:
        count = int(inherited.get("GIT_CONFIG_COUNT", "0"))
        pair = {f"GIT_CONFIG_KEY_{count}": f"http.{address.url}.extraHeader", f"GIT_CONFIG_VALUE_{count}": address.header}
        inherited |= pair | {"GIT_CONFIG_COUNT": str(count + 1)}
    return {
        "GIT_SSH_COMMAND": "ssh -o BatchMode=yes -o ConnectTimeout=20",
        **inherited,
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ASKPASS": "true",  # answers every question with nothing
        "SSH_ASKPASS": "true",
        "GIT_ALLOW_PROTOCOL": "https:http:ssh:git:file",  # no helper programs named in an address (ext::)
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_OPTIONAL_LOCKS": "0",
        "LC_ALL": "C",
    }
