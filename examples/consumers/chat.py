"""Says dockwarden's alerts in a chat, by an incoming webhook in the form that Slack, Mattermost and Rocket.Chat share.

    export CHAT_WEBHOOK=https://hooks.example/…
    python -m examples.consumers.chat --broker mqtt://broker.example:1883 --at-least warning

One message when an alert begins, one when it becomes more severe, one when it is resolved; counts that rise are
left to the pager.
"""

import argparse
import os
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from .alerts import KEPT, SEVERITIES, Alert
from .consumer import Consumer, run
from .delivery import Request

COLOURS = {"critical": "#b00020", "error": "#e0562c", "warning": "#e0a32c", "info": "#3a7bd5"}
RESOLVED = "#2e8b57"


def chat_message(alert: Alert) -> dict[str, Any]:
    """The alert as the body of an incoming webhook."""
    data = alert.data
    word = alert.severity if alert.firing else "resolved"
    text = f"[{word}] {data['host']}: {data['summary']}"
    return {
        "username": "dockwarden",
        "attachments": [
            {
                "fallback": _plain(text),
                "color": COLOURS[alert.severity] if alert.firing else RESOLVED,
                "title": _plain(f"{data['host']}: {data['rule']}"),
                "text": _plain(str(data["summary"])),
                "fields": [
                    {"title": "status", "value": word, "short": True},
                    {"title": "key", "value": _plain(str(data["key"]) or "-"), "short": True},
                ],
            }
        ],
    }


def _plain(text: str) -> str:
    """Slack's three control characters as entities: a container named `<!channel>` must not wake everybody up."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


class Chat:
    """Says what begins, worsens or ends, each once; after a restart, of which it remembers nothing, perhaps once more.

    Args:
        webhook: its address.
        at_least: severity; lesser alerts are left out.
    """

    def __init__(self, webhook: str, *, at_least: str = "warning") -> None:
        self._webhook = webhook
        self._at_least = at_least
        self._said: OrderedDict[str, str] = OrderedDict()

    def requests(self, alert: Alert) -> Sequence[Request]:
        """One, or none when there is nothing new to say."""
        before = self._said.get(alert.dedup_key)
        if before is None:
            wanted = alert.at_least(self._at_least)
        else:
            wanted = not alert.firing or SEVERITIES.index(alert.severity) > SEVERITIES.index(before)
        return [Request(self._webhook, chat_message(alert))] if wanted else ()

    def delivered(self, alert: Alert) -> None:
        """Remember what was said, so that it is said once."""
        before = self._said.pop(alert.dedup_key, None)
        if not alert.firing or not (before is not None or alert.at_least(self._at_least)):
            return
        worst = max(alert.severity, before or alert.severity, key=SEVERITIES.index)
        self._said[alert.dedup_key] = worst
        while len(self._said) > KEPT:
            self._said.popitem(last=False)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description="dockwarden's alerts in a chat")
    parser.add_argument("--broker", default="mqtt://127.0.0.1:1883", help="password in MQTT_PASSWORD")
    parser.add_argument("--at-least", default="warning", choices=SEVERITIES)
    chosen = parser.parse_args()
    webhook = os.environ.get("CHAT_WEBHOOK", "")
    if not webhook:
        parser.error("the webhook's address is expected in CHAT_WEBHOOK (it is a secret, so not on the command line)")
    chat = Chat(webhook, at_least=chosen.at_least)
    run(Consumer(chat).run(chosen.broker, "dockwarden-chat", retained_again=False))


if __name__ == "__main__":
    main()
