"""`dockwarden alarm-test`: a test alarm through outbox, broker and consumers to the receivers, and their answers back."""

import asyncio
import json
import secrets
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from engine.errors import DockwardenError
from engine.settings import load_settings
from engine.sidecar.composition import replies
from engine.sidecar.status_socket import ask

QUIET_S = 3.0
"""So long after an answer another one may come: how many receivers there are is known to the consumers alone."""


def send_alarm_test(*, state: Path | None, config: Path | None, wait_s: float, output: str) -> int:
    """Send one and print who took it; 1 when nobody did in time.

    Raises:
        DockwardenError: no sidecar answers, or the broker cannot be listened to.
    """
    return asyncio.run(_send(state, config, wait_s, output))


async def _send(state: Path | None, config: Path | None, wait_s: float, output: str) -> int:
    settings = load_settings(config)
    socket = (state if state is not None else settings.state) / "status.sock"
    test = f"cli-{secrets.token_hex(6)}"
    async with replies(settings, test) as answers:
        began = time.monotonic()
        try:
            sent = await ask(socket, {"ask": "alarm-test", "id": test})
        except (OSError, TimeoutError, ValueError) as error:
            why = str(error) or "no answer in time"
            raise DockwardenError(
                f"no sidecar answers at {socket} ({why}). Does it run, as this user? Name its state folder with --state."
            ) from error
        if not sent.get("ok"):
            raise DockwardenError(
                str(sent.get("error") or "the sidecar that runs knows no test alarms: it is older than this program")
            )
        if output == "text":
            link = "" if sent["connected"] else ", which is NOT connected: it waits in the outbox"
            print(f"test alarm {test} sent by way of {sent['broker']}{link}", flush=True)
        taken = [answer async for answer in _within(answers, wait_s, began, output)]
    if output == "json":
        print(json.dumps({"test": test, "taken": taken}, indent=2))
    elif not taken:
        print(
            f"no receiver took it within {wait_s:g} s. Look where it ends: dockwarden status (connected? waiting?), then"
            " dockwarden-pager status and dead-letters"
        )
    return 0 if taken else 1


async def _within(answers: AsyncIterator[bytes], wait_s: float, began: float, output: str) -> AsyncIterator[dict[str, Any]]:
    """The answers that come in time; a little after each others are waited for, too."""
    left = wait_s
    while True:
        try:
            payload = await asyncio.wait_for(anext(answers), left)
            answer = json.loads(payload)
        except (TimeoutError, StopAsyncIteration):
            return
        except (ValueError, RecursionError):
            continue
        if not isinstance(answer, dict) or answer.get("ok") is not True:
            continue
        after = time.monotonic() - began
        if output == "text":
            print(f"taken by {answer.get('receiver')} ({answer.get('consumer')}) after {after:.1f} s", flush=True)
        yield {**answer, "after_s": round(after, 3)}
        left = max(min(QUIET_S, wait_s - after), 0.0)
