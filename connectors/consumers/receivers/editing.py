"""Chats whose bots can edit: one message per incident is kept up to date (Slack, Mattermost, Telegram)."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import aiohttp

from connectors.consumers.config import EditingChat, read_secret
from connectors.consumers.notes import Note
from connectors.consumers.outcomes import LONGEST_WAIT_S, Outcome, no_answer
from connectors.consumers.receivers.chat_text import chat_text, chat_title, colour
from connectors.consumers.receivers.http import Request, request_once
from engine.errors import SettingsError
from engine.ports.clock import Clock

_TELEGRAM_TEXT = 4096
"""Characters that Telegram takes in a message (core.telegram.org/bots/api#sendmessage)."""


@dataclass(frozen=True, slots=True)
class Bot:
    """Who speaks, and where."""

    url: str
    token: str
    channel: str
    runbooks_url: str = ""


def slack_request(note: Note, bot: Bot, ref: str | None) -> Request:
    """`chat.postMessage`, or `chat.update` of the message with the timestamp `ref`."""
    body: dict[str, Any] = {
        "channel": bot.channel,
        "text": _slack(chat_title(note)),
        "attachments": [{"color": colour(note), "text": _slack(chat_text(note, bot.runbooks_url)), "mrkdwn_in": []}],
    }
    if ref is not None:
        body["ts"] = ref
    method = "chat.postMessage" if ref is None else "chat.update"
    return Request(f"{bot.url}/api/{method}", body, {"Authorization": f"Bearer {bot.token}"})


def mattermost_request(note: Note, bot: Bot, ref: str | None) -> Request:
    """`POST /api/v4/posts`, or `PUT /api/v4/posts/{ref}/patch`."""
    attachment = {
        "fallback": chat_title(note),
        "color": colour(note),
        "title": chat_title(note),
        "text": _plain_markdown(chat_text(note, bot.runbooks_url)),
    }
    body: dict[str, Any] = {"message": "", "props": {"attachments": [attachment]}}
    headers = {"Authorization": f"Bearer {bot.token}"}
    if ref is None:
        return Request(f"{bot.url}/api/v4/posts", {"channel_id": bot.channel, **body}, headers)
    return Request(f"{bot.url}/api/v4/posts/{ref}/patch", body, headers, "PUT")


def telegram_request(note: Note, bot: Bot, ref: str | None) -> Request:
    """`sendMessage`, or `editMessageText` of the message `ref`; plain text, so that nothing in it is markup."""
    text = f"{chat_title(note)}\n{chat_text(note, bot.runbooks_url)}"[:_TELEGRAM_TEXT]
    body: dict[str, Any] = {"chat_id": bot.channel, "text": text, "disable_web_page_preview": True}
    if ref is not None:
        body["message_id"] = int(ref)
    return Request(f"{bot.url}/bot{bot.token}/{'sendMessage' if ref is None else 'editMessageText'}", body)


def answer_of(kind: str, done: Outcome, body: bytes) -> Outcome:
    """What an answer means: Slack says 200 to everything and what is wrong in the body; the message's name stands there, too."""
    try:
        answer = json.loads(body or b"{}")
    except (ValueError, RecursionError):
        answer = {}
    if not isinstance(answer, dict):
        answer = {}
    if kind == "telegram" and done.verdict == "never" and "message is not modified" in str(answer.get("description")):
        return Outcome("taken", ref=_SAME)
    if done.verdict != "taken":
        wait = _map(answer.get("parameters")).get("retry_after")
        if done.verdict == "later" and done.after_s is None and isinstance(wait, int):
            return replace(done, after_s=min(float(wait), LONGEST_WAIT_S))
        return done
    if kind == "slack" and answer.get("ok") is not True:
        error = str(answer.get("error") or "no reason given")[:100]
        wrong_message = error in {"msg_too_long", "no_text", "invalid_blocks", "invalid_attachments", "too_many_attachments"}
        return Outcome("never" if wrong_message else "later", f"Slack refuses: {error}")
    ref = {"slack": answer.get("ts"), "mattermost": answer.get("id"), "telegram": _map(answer.get("result")).get("message_id")}[
        kind
    ]
    return Outcome("taken", ref=None if ref is None else str(ref))


_GONE = (
    "message_not_found",
    "cant_update_message",
    "edit_window_closed",
    "message to edit not found",
    "message can't be edited",
    "HTTP 404",
)
"""The message was deleted or is too old to be edited: a new one takes its place. (Mattermost says 404.)"""
_SAME = "same"
"""Stands for the name of a message that was edited to what it was."""

_REQUESTS: dict[str, Callable[[Note, Bot, str | None], Request]] = {
    "slack": slack_request,
    "mattermost": mattermost_request,
    "telegram": telegram_request,
}
_ADDRESSES: Mapping[str, str] = {"slack": "https://slack.com", "telegram": "https://api.telegram.org", "mattermost": ""}


class EditingSender:
    """Posts, and edits what it posted."""

    def __init__(self, session: aiohttp.ClientSession, config: EditingChat, *, clock: Clock, runbooks_url: str = "") -> None:
        self._session = session
        self._config = config
        self._clock = clock
        self._runbooks_url = runbooks_url

    async def send(self, note: Note, ref: str | None) -> Outcome:
        """See `Sender`."""
        config = self._config
        try:
            token = read_secret(config.token_file)
        except SettingsError as error:
            return no_answer(str(error))
        url = str(config.url).rstrip("/") if config.url is not None else _ADDRESSES[config.type]
        bot = Bot(url, token, config.channel, self._runbooks_url)
        # A new beginning is a new message, at the bottom, where people look.
        ref = None if note.kind in {"first", "digest", "test"} else ref
        done = await self._try(note, bot, ref)
        if ref is not None and done.verdict != "taken" and any(word in done.reason for word in _GONE):
            done = await self._try(note, bot, None)
        return Outcome("taken", ref=ref) if done.ref == _SAME else done

    async def _try(self, note: Note, bot: Bot, ref: str | None) -> Outcome:
        request = _REQUESTS[self._config.type](note, bot, ref)
        done, body = await request_once(self._session, request, timeout_s=self._config.timeout_s, clock=self._clock)
        return answer_of(self._config.type, done, body)


def _slack(text: str) -> str:
    """Slack's three control characters as entities (api.slack.com/reference/surfaces/formatting)."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _plain_markdown(text: str) -> str:
    """Mattermost reads Markdown: what others name is escaped, the link of the runbook stays one."""
    lines = (line if line.startswith("Runbook: ") else re.sub(r"([\\*_`~|#\[\]])", r"\\\1", line) for line in text.split("\n"))
    return "\n".join(lines)


def _map(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
