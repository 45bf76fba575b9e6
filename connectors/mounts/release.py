"""Talks to the helper that unmounts. Knows its protocol, and nothing of why a mount should go."""

import asyncio
import json
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from connectors.mounts.holders import HeldMount
from engine.facts.outcomes import ErrorKind

_HELPER = Path(__file__).with_name("helper.py")

_START_S = 10.0
"""The helper starts in 0.1 s; on a host that is out of memory or of processor time it may take some seconds."""
_EACH_S = 2.0
"""One mount takes 0.01 ms, or 0.3 s when it is busy."""
_END_S = 1.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What the helper said of one mount."""

    ok: bool
    kind: ErrorKind | None = None
    error: str | None = None
    lazy: bool = False


def request_of(held: HeldMount) -> dict[str, int | str | bool]:
    """What the helper is asked."""
    return {
        "pid": held.holder.pid,
        "started": held.holder.started,
        "namespace": held.holder.namespace,
        "mount": held.mount.id,
        "device": held.mount.device.decode("ascii", "replace"),
        "lazy": True,  # where that hides nothing: the helper judges each mount by itself
    }


async def release(mounts: Sequence[HeldMount]) -> list[Answer]:
    """Have a helper process unmount these, one after the other. One answer for each, in order; raises only when cancelled."""
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-I",
            "-S",
            str(_HELPER),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env={},
        )
    except OSError as error:
        return [Answer(ok=False, kind="failed", error=f"the helper cannot be started: {error}") for _ in mounts]
    answers: list[Answer] = []
    asked = b"".join(json.dumps(request_of(held)).encode() + b"\n" for held in mounts)
    try:
        async with asyncio.timeout(_START_S + _EACH_S * len(mounts)):
            out, _ = await process.communicate(asked)
        answers = [_answer(line) for line in out.splitlines()[: len(mounts)]]
        missing = Answer(ok=False, kind="failed", error=f"the helper ended without an answer (code {process.returncode})")
    except TimeoutError:
        missing = Answer(ok=False, kind="timeout", error="unmounting does not come back")
    finally:
        await _end(process)
    return answers + [missing] * (len(mounts) - len(answers))


async def _end(process: asyncio.subprocess.Process) -> None:
    """Kill what has not ended. One that is stuck in the kernel goes when the kernel lets it; it is not waited for."""
    if process.returncode is not None:
        return
    with suppress(ProcessLookupError):
        process.kill()
    with suppress(TimeoutError):
        # Not asyncio.timeout: before CPython 3.11.3 (Debian 12) its end is taken for a cancellation under way.
        await asyncio.wait_for(process.wait(), _END_S)


def _answer(line: bytes) -> Answer:
    try:
        said = json.loads(line)
        return Answer(
            ok=bool(said["ok"]),
            kind=cast("ErrorKind | None", said.get("kind")),
            error=said.get("error"),
            lazy=bool(said.get("lazy", False)),
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return Answer(ok=False, kind="failed", error="the helper's answer cannot be read")
