"""Chats by the library apprise, which knows the interfaces of the services; each message is new, for apprise edits none.

apprise answers yes or no. What the service answered (429, Retry-After, 400) is read from `requests`, with which apprise sends:
each answer is noted for the thread that waits for it. The one place that reaches into a library; the lock file pins both.
apprise blocks: each receiver has a thread of its own, so that one that hangs delays no other.
"""

import asyncio
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import apprise
import requests
from apprise.logger import logger as apprise_log

from connectors.consumers.config import read_secret
from connectors.consumers.notes import Note
from connectors.consumers.outcomes import Outcome, no_answer, outcome
from connectors.consumers.receivers.chat_text import chat_text, chat_title
from engine.errors import SettingsError
from engine.ports.clock import Clock

_TYPES = {
    "critical": apprise.NotifyType.FAILURE,
    "error": apprise.NotifyType.FAILURE,
    "warning": apprise.NotifyType.WARNING,
    "info": apprise.NotifyType.INFO,
}
_MICROS = 1_000_000
_ANSWERS = threading.local()
_Answer = tuple[int, Mapping[str, str]]
"""Status and headers."""

# apprise repeats addresses, which hold secrets, in its warnings; what went wrong is in the outcome.
apprise_log.setLevel("CRITICAL")
apprise_log.propagate = False


class _Session(requests.Session):
    """Notes each answer for the thread that waits for it."""

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        answer = super().send(request, **kwargs)
        answers = getattr(_ANSWERS, "list", None)
        if answers is not None:
            answers.append((answer.status_code, dict(answer.headers)))
        return answer


# `requests.post` and its like open a session by this name; every plugin of apprise goes through them.
requests.sessions.Session = _Session  # type: ignore[misc]  # a subclass that does the same and notes the answer


def check_address(url: str) -> None:
    """See that apprise understands an address.

    Raises:
        SettingsError: it does not. The address is not repeated: it holds the service's secret.
    """
    if apprise.Apprise.instantiate(url, asset=_asset()) is None:
        scheme = url.partition("://")[0] if "://" in url[:32] else ""
        named = f" (it begins with `{scheme}://`)" if scheme.isalnum() else ""
        raise SettingsError(f"apprise does not understand the address{named}: see the service's page at https://appriseit.com")


def verdict(*, sent: bool, answers: list[_Answer], now: float) -> Outcome:
    """What apprise's yes or no means, with the answers that the service gave. Pure.

    A service may need several requests (a login first): the last one counts. Without any answer it could not be reached.
    """
    if sent:
        return Outcome("taken")
    if not answers:
        return no_answer("no answer: cannot be reached, or not in time")
    status, headers = answers[-1]
    done = outcome(status, {name.title(): value for name, value in headers.items()}, now)
    # HTTP says yes, and the service no in the body: as Slack, DingTalk and Feishu do of wrong keys and of too many messages.
    return Outcome("later", "the service refuses, in an answer with HTTP 200") if done.verdict == "taken" else done


class AppriseSender:
    """Sends by apprise; the address is read for each note, so that it can be changed."""

    def __init__(self, url_file: Path, *, timeout_s: float, clock: Clock, runbooks_url: str = "") -> None:
        self._url_file = url_file
        self._timeout_s = timeout_s
        self._clock = clock
        self._runbooks_url = runbooks_url
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="apprise")

    async def send(self, note: Note, ref: str | None) -> Outcome:
        """See `Sender`."""
        del ref
        call = asyncio.get_running_loop().run_in_executor(self._pool, self._send, note)
        # The thread ends by the time-outs of its sockets; some services are asked more than once for one message.
        done, _ = await asyncio.wait({call}, timeout=4 * self._timeout_s)
        return call.result() if done else no_answer(f"no answer within {4 * self._timeout_s:g} s")

    def close(self) -> None:
        """Wait for nothing: a thread that hangs ends with its socket's time-out."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _send(self, note: Note) -> Outcome:
        try:
            url = read_secret(self._url_file)
            service = apprise.Apprise.instantiate(url, asset=_asset())
        except SettingsError as error:
            return no_answer(str(error))
        if service is None or isinstance(service, dict):
            return no_answer(f"apprise does not understand the address in {self._url_file}")
        service.socket_connect_timeout = service.socket_read_timeout = self._timeout_s
        kind = _TYPES.get(note.severity, apprise.NotifyType.INFO) if note.firing_now else apprise.NotifyType.SUCCESS
        caller = apprise.Apprise(asset=_asset())
        caller.add(service)
        answers = _noted(service)
        try:
            sent = bool(
                caller.notify(
                    title=chat_title(note),
                    body=chat_text(note, self._runbooks_url) or chat_title(note),
                    notify_type=kind,
                    body_format=apprise.NotifyFormat.TEXT,
                )
            )
        except (requests.RequestException, OSError, ValueError, TypeError) as error:
            return no_answer(f"apprise failed: {type(error).__name__}")
        return verdict(sent=sent, answers=answers, now=self._clock.wall() / _MICROS)


def _noted(service: apprise.NotifyBase) -> list[_Answer]:
    """The answers that this service gets from now on, in whatever thread apprise sends."""
    answers: list[_Answer] = []
    send = service.send

    def noting(*arguments: Any, **named: Any) -> bool:
        _ANSWERS.list = answers
        try:
            return bool(send(*arguments, **named))
        finally:
            _ANSWERS.list = None

    service.send = noting  # type: ignore[method-assign]  # of this one instance, that is made for one message
    return answers


def _asset() -> apprise.AppriseAsset:
    """Nothing on disk, no code of plugins from elsewhere, no logos from elsewhere."""
    return apprise.AppriseAsset(
        app_id="dockwarden",
        app_desc="dockwarden",
        app_url="",
        image_url_mask="",
        image_url_logo="",
        async_mode=False,
        storage_mode=apprise.PersistentStoreMode.MEMORY,
        plugin_paths=[],
        secure_logging=True,
    )
