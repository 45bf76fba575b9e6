"""From what was read to facts. Pure."""

from datetime import datetime

from engine.facts.logs import DaemonLog, KernelEvent, KubeletEvent, LogFact
from engine.logparse.reading import Reading
from engine.logparse.reports import MAX_TEXT_CHARS
from engine.logparse.triggers import LogSource

_MODELS: dict[LogSource, type[LogFact]] = {"kernel": KernelEvent, "dockerd": DaemonLog, "kubelet": KubeletEvent}


def make_fact(source: LogSource, reading: Reading, text: str, at: datetime) -> LogFact:
    """The fact of `source` that says `reading`; its text is cut to `MAX_TEXT_CHARS`."""
    name, fields = reading
    return _MODELS[source].model_validate({**fields, "class": name, "at": at, "source": source, "text": text[:MAX_TEXT_CHARS]})
