"""What people receive of a real restart loop: a real Docker, a real sidecar, a real broker, the chat and a pager."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.contract.consumers.running import config, consuming, secret
from tests.lab.broker import ScratchBroker
from tests.lab.engine import ScratchEngine
from tests.lab.http_receiver import http_receiver
from tests.lab.waiting import until
from tests.live.conftest import Watch

pytestmark = pytest.mark.live

LOOP_S = 35.0
"""As long as the loop that was eighteen messages in a chat at 0.1.0."""


async def test_a_restart_loop_is_at_most_three_messages(
    engine: ScratchEngine, watch: Watch, broker: ScratchBroker, host: str, tmp_path: Path
) -> None:
    """In the chat and at the pager, all rules that notice it together; by the container's name, without a full id."""
    async with http_receiver() as chat, http_receiver() as pager, watch(engine):
        (tmp_path / "pager").mkdir()
        mine: dict[str, Any] = {"routes": [{"match": {"hosts": [host]}, "receivers": ["to"]}]}
        address = f"mmost://127.0.0.1:{chat.port}/abcdefghijklmnopqrstuvwxyz"
        chat_receiver = {"to": {"type": "apprise", "url_file": secret(tmp_path, "chat.url", address), "settle_s": 60}}
        page_receiver = {
            "to": {"type": "pagerduty", "url": pager.url, "routing_key_file": secret(tmp_path, "key", "k"), "settle_s": 60}
        }
        chat_config = config(tmp_path, broker, chat_receiver, "chat", **mine)
        page_config = config(tmp_path / "pager", broker, page_receiver, **mine)
        async with consuming(chat_config, "chat"), consuming(page_config):
            looping = await engine.run("sh", "-c", "exit 1", name="shop-api", options=("--restart", "always"))
            await until(lambda: chat.posts and pager.posts, what="the first message of both", within_s=30)
            await asyncio.sleep(LOOP_S)  # what is not said in this time is what is looked for
        assert 1 <= len(chat.posts) <= 3, chat.bodies
        assert 1 <= len(pager.posts) <= 3, pager.bodies
        assert chat.bodies[0]["text"].split("\r\n")[0].endswith(f"| {host} | shop-api")
        assert looping not in str(chat.bodies)
        assert all(looping not in body["payload"]["summary"] for body in pager.bodies)
