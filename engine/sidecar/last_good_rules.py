"""The last good rules, remembered in the journal: a restart goes on by them when what it finds in their place cannot be used."""

import json
from pathlib import Path

import structlog

from engine.errors import JournalError, RulesError
from engine.journal.reader import JournalReader
from engine.rules.findings import Report
from engine.rules.reader import RuleTexts
from engine.sidecar.rule_source import LoadedRules, usable

_log = structlog.get_logger(__name__)

NAME = "rules"
"""Under which the journal remembers them."""

MAX_CHARS = 16 * 1024 * 1024
"""Rules larger than this are not remembered: a hundred times what ships."""


def to_json(loaded: LoadedRules) -> str | None:
    """As text for the journal; None when it would be too long."""
    body = {
        "where": loaded.where,
        "commit": loaded.commit,
        "rules": [(name, data.decode()) for name, data in loaded.texts.rules],  # good rules are UTF-8
        "overrides": [(name, data.decode()) for name, data in loaded.texts.overrides],
    }
    text = json.dumps(body, ensure_ascii=False, separators=(",", ":"))
    return text if len(text) <= MAX_CHARS else None


def last_good(state: Path, where: str | None = None) -> LoadedRules | None:
    """The rules of this place that were in force last, by the journal of a state folder; None when none can be used.

    None as the place: of any. Those of another place are not what anybody asked for: a wrong `--rules` is a fault to name,
    not to cover up.
    """
    journal = state / "journal.db"
    if not journal.exists():
        return None
    try:
        with JournalReader(journal) as reader:
            text = reader.memory().get(NAME)
        if text is None:
            return None
        body = json.loads(text)
        if where is not None and body["where"] != where:
            return None
        texts = RuleTexts(
            tuple((str(name), str(data).encode()) for name, data in body["rules"]),
            tuple((str(name), str(data).encode()) for name, data in body["overrides"]),
        )
        return usable(str(body["where"]), texts, Report(), str(body["commit"]))
    except (JournalError, RulesError, ValueError, KeyError, TypeError) as error:
        _log.warning("last_good_rules_unusable", error=str(error))
        return None
