"""What readers of messages return, and the fact that is made of it. Knows no message. Pure."""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Literal, TypeVar

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


_Result = TypeVar("_Result")
_CACHED_TEXTS = 256
_CACHED_CHARS = 2_048
"""What happens again is said again in the same words, for hours: a slab that gets no memory, a container that cannot be removed.
So the readings of the last texts are kept; at 4 bytes a character the texts take 2 MiB at most."""


def remembering(read: Callable[[str], _Result]) -> Callable[[str], _Result]:
    """The same function of a text, which remembers what it answered to the last ones. The answers must not be changed."""
    cached = lru_cache(_CACHED_TEXTS)(read)
    return lambda text: cached(text) if len(text) <= _CACHED_CHARS else read(text)


def _prototype(model: type[LogFact]) -> tuple[dict[str, Any], dict[str, str]]:
    """The values of a fact of which nothing is known, and the names of fields by their aliases."""
    defaults = {name: field.get_default(call_default_factory=True) for name, field in model.model_fields.items()}
    return defaults, {field.alias: name for name, field in model.model_fields.items() if field.alias is not None}


_PROTOTYPES = {source: (model, *_prototype(model)) for source, model in _MODELS.items()}
_set = object.__setattr__


def make_fact(source: LogSource, reading: Reading, text: str, at: datetime) -> LogFact:
    """The fact of `source` that says `reading`; its text is cut to `MAX_TEXT_CHARS`.

    It equals what the model would make of the same values. They are right by construction, so they are not validated again: that
    took a quarter of the time of a line.
    """
    model, defaults, names = _PROTOTYPES[source]
    name, fields = reading
    known = {
        "class_": name,
        "at": at if at.tzinfo is UTC else at.astimezone(UTC),
        "source": source,
        "text": text[:MAX_TEXT_CHARS],
    }
    for field, value in fields.items():
        known[names.get(field, field)] = value
    fact = model.__new__(model)
    _set(fact, "__dict__", defaults | known)
    _set(fact, "__pydantic_fields_set__", set(known))
    _set(fact, "__pydantic_extra__", None)
    _set(fact, "__pydantic_private__", None)
    return fact
