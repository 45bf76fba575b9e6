"""A core on a timeline of whole seconds, with rules as operators write them."""

from typing import Any

from engine.facts import Fact, Retraction
from engine.facts.timestamps import SECOND, Micros, from_micros
from engine.inference.core import Core
from engine.inference.decision import ActionDecision, AlertDecision, AssertDecision, Decision, RetractDecision
from engine.inference.persistence import restore
from engine.rules.model import RuleSet
from engine.rules.reader import check_texts

START: Micros = 1_800_000_000 * SECOND


def rules(*texts: str) -> RuleSet:
    """A rule set of these files, each a list of rules without its head."""
    files = [(f"{number}.yaml", f"rules:\n{text}".encode()) for number, text in enumerate(texts)]
    checked = check_texts(files)
    assert checked.ruleset is not None, [str(finding) for finding in checked.findings]
    return checked.ruleset


class Timeline:
    """Facts at moments in, decisions out as short texts."""

    def __init__(self, *texts: str) -> None:
        self.core = Core(rules(*texts))
        self.kept: dict[tuple[str, str], str] = {}
        self._numbers = 0

    def at(self, seconds: float, **fact: Any) -> list[str]:
        """A fact (`kind=…` names its kind) or a retraction (`retract=…`, `key=…`) at a moment."""
        self._numbers += 1
        body: dict[str, Any] = {"at": from_micros(START + round(seconds * SECOND)), "fact_id": f"f{self._numbers}"}
        kind = fact.pop("kind", None)
        body |= {name.rstrip("_"): value for name, value in fact.items()}
        item: Fact | Retraction = self.core.kinds.read(body | ({"fact": kind} if kind else {}))
        return self._said(self.core.step(item))

    def box(self, seconds: float, ident: str = "a", **fields: Any) -> list[str]:
        """A container as it is from then on."""
        return self.at(seconds, kind="container", id=ident, **fields)

    def event(self, seconds: float, action: str, ident: str = "a", **fields: Any) -> list[str]:
        """Something that happened to a container."""
        return self.at(seconds, kind="container_event", action=action, id=ident, **fields)

    def gone(self, seconds: float, ident: str = "a") -> list[str]:
        """A container that is no more."""
        return self.at(seconds, retract="container", key=ident)

    def until(self, seconds: float) -> list[str]:
        """Let time pass."""
        return self._said(self.core.advance(START + round(seconds * SECOND)))

    def restart(self, *texts: str) -> None:
        """Go on from what a journal would hold, perhaps under other rules."""
        self._drain()
        ruleset = rules(*texts) if texts else self.core.ruleset
        self.core = restore(ruleset, self.kept)

    def _drain(self) -> None:
        changes = self.core.drain_changes()
        for address in changes.deletes:
            self.kept.pop(address, None)
        self.kept |= changes.puts

    @staticmethod
    def _said(decisions: list[Decision]) -> list[str]:
        return [_text(decision) for decision in decisions]


def _text(decision: Decision) -> str:
    """`12s firing rule[key]: text`, and so on."""
    seconds = (decision.at - START) / SECOND
    name = f"{decision.rule}[{decision.key}]" if decision.key else decision.rule
    match decision:
        case AlertDecision():
            return f"{seconds:g}s {decision.status} {name}: {decision.alert.text}"
        case ActionDecision():
            return f"{seconds:g}s do {decision.action} {','.join(map(str, decision.params.values()))}"
        case AssertDecision() | RetractDecision():
            return f"{seconds:g}s {decision.does} {decision.fact.identity[0]}"
