"""What readers of messages return, and the fact that is made of it. Knows no message. Pure."""

from datetime import datetime
from typing import Any, Literal

from engine.facts.logs import DaemonLog, KernelEvent, KubeletEvent, LogFact

LogSource = Literal["kernel", "dockerd", "kubelet"]

Fields = dict[str, Any]
Reading = tuple[str, Fields]
"""A class of the vocabulary and the fields that were found; no field stands for what the line does not say."""

MAX_TEXT_CHARS = 4_096
"""Of the lines that a fact quotes."""

_MODELS: dict[LogSource, type[LogFact]] = {"kernel": KernelEvent, "dockerd": DaemonLog, "kubelet": KubeletEvent}


def found_fields(groups: dict[str, str | None], numbers: frozenset[str] = frozenset()) -> Fields:
    """The named groups that took part in a match, those in `numbers` as int."""
    return {name: int(value) if name in numbers else value for name, value in groups.items() if value is not None}


def make_fact(source: LogSource, reading: Reading, text: str, at: datetime) -> LogFact:
    """The fact of `source` that says `reading`; its text is cut to `MAX_TEXT_CHARS`."""
    name, fields = reading
    return _MODELS[source].model_validate({**fields, "class": name, "at": at, "source": source, "text": text[:MAX_TEXT_CHARS]})
