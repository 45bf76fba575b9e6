"""Which commands are let in: signature, times, nonce, rate. Sans-I/O: keys and time come in, what to remember goes out."""

import json
from collections.abc import Mapping

import structlog

from engine.facts.timestamps import SECOND, Micros
from engine.messages.commands import CommandMessage, OperatorKey, Refusal, judge_command, nonce_id

_log = structlog.get_logger(__name__)

MEMORY = "command_nonces"
"""Under this name the journal keeps the nonces that were used."""

PER_OPERATOR = 20
UNPROVEN = 10
WINDOW: Micros = 10 * SECOND
"""Commands of one operator, and payloads that no key signed, in any ten seconds: a person sends one, and refusals must not fill
the audit."""

MAX_NONCES = 10_000
"""Nonces remembered at most, some 400 KiB; while there are so many, none is let in."""


class CommandGate:
    """Judges commands in the order in which they come."""

    def __init__(self) -> None:
        self._seen: dict[str, Micros] = {}
        self._recent: dict[str, list[Micros]] = {}
        self.refused: dict[str, int] = {}
        """Refusals by code, for the metrics."""

    def admit(
        self, payload: bytes, *, name: str, host: str, keys: Mapping[str, OperatorKey], now: Micros, monotonic: Micros
    ) -> CommandMessage | Refusal:
        """Judge one payload. A command that is let in counts as used: `to_json` belongs into the journal before its reply leaves.

        Args:
            payload: as it came.
            name: last level of its topic.
            host: name of this host.
            keys: of operators.
            now: the wall clock, for issue and expiry.
            monotonic: a clock that never goes back, in microseconds, for the rate.
        """
        self._seen = {nonce: until for nonce, until in self._seen.items() if until > now}
        judged = judge_command(payload, name=name, host=host, keys=keys, now=now, seen=self._seen)
        if isinstance(judged, Refusal):
            if not self._within_rate(judged.by, PER_OPERATOR if judged.by else UNPROVEN, monotonic):
                judged = Refusal("rate_limited", "too many commands", by=judged.by)
        elif not self._within_rate(judged.by, PER_OPERATOR, monotonic):
            judged = Refusal("rate_limited", f"at most {PER_OPERATOR} commands in {WINDOW // SECOND} s", judged.id, judged.by)
        elif len(self._seen) >= MAX_NONCES:
            judged = Refusal("rate_limited", "too many commands are remembered: try again in some minutes", judged.id, judged.by)
        else:
            self._seen[nonce_id(judged)] = judged.expires_at
            return judged
        self.refused[judged.code] = self.refused.get(judged.code, 0) + 1
        return judged

    def _within_rate(self, operator: str, most: int, now: Micros) -> bool:
        recent = [at for at in self._recent.get(operator, ()) if at > now - WINDOW]
        allowed = len(recent) < most
        self._recent[operator] = [*recent, now] if allowed else recent
        return allowed

    def to_json(self) -> str:
        """What is to be remembered across restarts."""
        return json.dumps(self._seen)

    def restore(self, text: str | None) -> None:
        """Go on from what was remembered."""
        try:
            loaded = {} if text is None else json.loads(text)
            self._seen = {str(nonce): int(until) for nonce, until in loaded.items()}
        except (ValueError, TypeError, AttributeError) as error:
            # The commands that were used are good for ten minutes at most; losing them is said.
            _log.error("command_nonces_unreadable", error=str(error))
