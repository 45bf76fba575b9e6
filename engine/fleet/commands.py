"""Commands that the fleet's engine sends: `freeze` to every host, when a rule asks for it, and what operators want from the page.

Each is signed for one host, good for a minute, and confirmed by that host's reply. Only the engine that holds the lease
freezes; the other waits for its outcome, and takes over when the lease comes to it.
"""

import asyncio
import json
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import structlog

from engine.errors import CommandKeyError, DockwardenError
from engine.facts.timestamps import SECOND
from engine.messages.commands import CommandMessage, CommandParams, OperatorKey, sign
from engine.messages.topics import host_topic
from engine.ports.actions import Outcome, failed
from engine.ports.clock import Clock
from engine.sidecar.command_keys import SUFFIX, read_command_key

_log = structlog.get_logger(__name__)

LIFETIME_S: Final = 60
"""A command is good for so long."""

CONFIRM_S: Final = 5.0
"""A host has so long to confirm before it is asked once more."""

ROUNDS: Final = 3
"""How often each host is asked in one attempt; further attempts are the rule's retries."""

AT_ONCE: Final = 250
"""Commands sent before the loop has its turn again."""

LEAVE_S: Final = 60.0
"""The engine without the lease waits so long for the outcome of the other."""

LOOK_S: Final = 0.2

NAMED: Final = 10
"""Hosts that an error names."""

Publish = Callable[[str, bytes], bool]
"""Sends a message; False while there is no connection."""


class CommandDesk:
    """Commands under way, and the replies to them."""

    def __init__(self, publish: Publish, clock: Clock) -> None:
        self._publish = publish
        self._clock = clock
        self._waiting: dict[str, asyncio.Future[dict[str, Any]]] = {}

    def replied(self, request: str, payload: bytes) -> None:
        """A reply came."""
        waiting = self._waiting.get(request)
        if waiting is None or waiting.done():
            return
        try:
            reply = json.loads(payload)
        except (ValueError, RecursionError):
            return
        if isinstance(reply, dict):
            waiting.set_result(reply)

    def send(self, host: str, name: str, params: Mapping[str, Any], key: OperatorKey) -> "asyncio.Future[dict[str, Any]]":
        """Sign and send; what comes back. Who gives up waiting cancels it.

        Raises:
            DockwardenError: it is no command, or there is no connection.
        """
        now = self._clock.wall()
        try:
            command = CommandMessage.model_validate(
                {
                    "id": secrets.token_hex(8),
                    "host": host,
                    "name": name,
                    "by": key.operator,
                    "issued_at": now,
                    "expires_at": now + LIFETIME_S * SECOND,
                    "nonce": secrets.token_hex(16),
                    "params": CommandParams.model_validate(dict(params)),
                }
            )
        except ValueError as error:
            raise DockwardenError(f"{name}: not a command: {error}") from error
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._waiting[command.id] = answer
        answer.add_done_callback(lambda _: self._waiting.pop(command.id, None))
        if not self._publish(host_topic(host, "command", name), sign(command, key.secret)):
            answer.cancel()
            raise DockwardenError("the broker cannot be reached at present; nothing was sent")
        return answer


class PageCommands:
    """The page's `CommandSender`: signs with the key of the operator whose token it was."""

    def __init__(self, desk: CommandDesk, keys: Path) -> None:
        """Make one. `keys`: folder of the operators' keys, NAME.key each."""
        self._desk = desk
        self._keys = keys

    async def send(self, *, operator: str, name: str, host: str, params: Mapping[str, Any]) -> Mapping[str, Any]:
        """See the protocol; the page bounds the time."""
        if Path(operator).name != operator:
            raise DockwardenError(f"{operator!r} is no name of an operator")
        key = await asyncio.to_thread(read_command_key, self._keys / f"{operator}{SUFFIX}")
        if name not in key.allow:
            raise DockwardenError(f"the key of {operator} does not allow {name}")
        return await self._desk.send(host, name, params, key)


class FreezeHosts:
    """The action `freeze_action`."""

    name = "freeze_action"

    def __init__(
        self,
        desk: CommandDesk,
        *,
        key_file: Path | None,
        hosts: Callable[[], list[str]],
        holds: Callable[[], bool],
        holder: Callable[[], str],
        clock: Clock,
    ) -> None:
        """Make one.

        Args:
            desk: sends.
            key_file: of the fleet; None: nothing can be sent.
            hosts: every host that has a status, as of now.
            holds: whether this engine has the lease.
            holder: who has it.
            clock: for pauses.
        """
        self._desk = desk
        self._key_file = key_file
        self._hosts = hosts
        self._holds = holds
        self._holder = holder
        self._clock = clock
        self._confirmed: dict[str, set[str]] = {}
        """By action: hosts that have stopped it, from earlier attempts of a job that is not over."""
        self._peer_did: dict[str, float] = {}

    def peer_did(self, action: str) -> None:
        """The other engine has published that it stopped this action everywhere."""
        self._peer_did[action] = self._clock.monotonic()

    async def run(self, params: Mapping[str, Any], *, touch_running: bool = False) -> Outcome:  # noqa: ARG002  the port's
        """See the port."""
        action = str(params["name"])
        began = self._clock.monotonic()
        while not self._holds():
            if self._peer_did.get(action, float("-inf")) >= began - LEAVE_S:
                return Outcome(ok=True, detail=f"done by {self._holder()}")
            if self._clock.monotonic() - began >= LEAVE_S:
                return failed("timeout", f"{self._holder() or 'another engine'} has the lease and has not done it")
            await self._clock.sleep(LOOK_S)
        if self._key_file is None:
            return failed("denied", "the fleet has no key to sign with (fleet.key_file)", permanent=True)
        try:
            key = await asyncio.to_thread(read_command_key, self._key_file)
        except CommandKeyError as error:
            return failed("denied", str(error))
        return await self._freeze(action, key)

    async def _freeze(self, action: str, key: OperatorKey) -> Outcome:
        confirmed = self._confirmed.setdefault(action, set())
        refused: dict[str, str] = {}
        for _ in range(ROUNDS):
            left = [host for host in self._hosts() if host not in confirmed]
            if not left:
                break
            for start in range(0, len(left), AT_ONCE):
                if not self._holds():
                    return failed("conflict", "the lease went to another engine meanwhile")
                try:
                    answers = {
                        host: self._desk.send(host, "freeze", {"action": action, "reason": "breaker of the fleet"}, key)
                        for host in left[start : start + AT_ONCE]
                    }
                except DockwardenError as error:
                    return failed("unreachable", str(error))
                await asyncio.wait(answers.values(), timeout=CONFIRM_S)
                for host, answer in answers.items():
                    if answer.done() and not answer.cancelled():
                        reply = answer.result()
                        if reply.get("ok"):
                            confirmed.add(host)
                            refused.pop(host, None)
                        else:
                            refused[host] = str(reply.get("error", "refused"))[:100]
                    else:
                        answer.cancel()
        left = [host for host in self._hosts() if host not in confirmed]
        _log.warning("fleet_froze_action", frozen_action=action, confirmed=len(confirmed), left=len(left))
        if not left:
            del self._confirmed[action]
            return Outcome(ok=True, detail=f"{len(confirmed)} hosts have confirmed")
        named = ", ".join(f"{host} ({refused[host]})" if host in refused else host for host in left[:NAMED])
        more = f" and {len(left) - NAMED} more" if len(left) > NAMED else ""
        return failed("timeout", f"{len(left)} of {len(left) + len(confirmed)} hosts have not confirmed: {named}{more}")
