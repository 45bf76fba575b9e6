"""What every fact has in common. Knows nothing of Docker, of rules, or of where facts come from."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Self, overload

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, WrapValidator, model_validator

from engine.facts.timestamps import Micros, to_micros, utc_text

EVENT_TTL_S = 3600.0
"""Event facts expire after an hour unless they say otherwise: longer than any shipped rule looks back."""

_RESERVED = frozenset({"fact", "fact_id", "at", "host", "source", "ttl"})
"""Names of the envelope, which no field of a fact kind may take."""

_MAY_BE_EMPTY = ("fact_id", "host", "source")
"""Names of the envelope that are left out when there is nothing in them."""


_WRITTEN = len("2026-11-20T16:51:52.525487Z")
"""Length of a time as this program writes it."""


def _utc(value: Any, validate: Callable[[Any], datetime]) -> datetime:
    if type(value) is str and len(value) == _WRITTEN and value[10] == "T" and value[-1] == "Z" and value[-8] == ".":
        try:
            return datetime.fromisoformat(value)  # half of the time for nearly all facts
        except ValueError:
            pass  # pydantic says what is wrong with it
    at = validate(value)
    if at.tzinfo is UTC:
        return at
    if at.tzinfo is None:
        msg = "a time needs its zone (for example a final Z)"
        raise ValueError(msg)
    try:
        return at.astimezone(UTC)
    except OverflowError as error:  # the last hours of the year 9999 in the west, the first of the year 1 in the east
        msg = "in UTC it is outside the years 1 to 9999"
        raise ValueError(msg) from error


UtcTime = Annotated[
    datetime,
    WrapValidator(_utc),
    PlainSerializer(utc_text, return_type=str, when_used="json"),
]
"""A moment; always aware and in UTC. In JSON with microseconds and a final Z."""


class _Micros:
    """`at` in microseconds, worked out once. `functools.cached_property` takes a lock each time on Python 3.11."""

    @overload
    def __get__(self, instance: None, owner: type) -> "_Micros": ...

    @overload
    def __get__(self, instance: BaseModel, owner: type) -> Micros: ...

    def __get__(self, instance: BaseModel | None, owner: type) -> "_Micros | Micros":
        if instance is None:
            return self
        values = instance.__dict__
        micros = values["at_micros"] = to_micros(values["at"])
        return micros


class Fact(BaseModel):
    """A statement about the host at a moment. Frozen: a fact never changes, another one takes its place.

    `KIND` is the name rules use. `KEY` names the fields that identify what a state fact describes;
    it is empty for a state of which there is one, and None for events.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, ser_json_inf_nan="null")

    KIND: ClassVar[str] = ""
    KEY: ClassVar[tuple[str, ...] | None] = None

    fact_id: str = Field(
        default="", max_length=512, description="Names this observation; the same one seen twice has the same id."
    )
    at: UtcTime = Field(description="Event time, UTC.")
    host: str = Field(default="", max_length=255, description="Name of the host it is about.")
    source: str = Field(default="", max_length=255, description="What told it: docker, kernel, dockerd, probe, rule, …")
    ttl: float | None = Field(
        default=None,
        gt=0,
        le=31_536_000,
        description="Seconds until it expires; null: never (state) or one hour (event).",
    )

    at_micros: ClassVar[_Micros] = _Micros()
    """Event time in microseconds since the epoch."""

    @property
    def identity(self) -> tuple[str, ...]:
        """What working memory holds one of: kind and key of a state fact, kind and id of an event."""
        if self.KEY is None:
            return (self.KIND, self.fact_id)
        return (self.KIND, *(str(getattr(self, name)) for name in self.KEY))

    @property
    def lifetime_s(self) -> float | None:
        """Seconds from `at` until it expires, None for never."""
        if self.ttl is None and self.KEY is None:
            return EVENT_TTL_S
        return self.ttl

    @property
    def fact_kind(self) -> str:
        """Name of its kind, as rules use it."""
        return self.KIND

    def with_id(self, fact_id: str) -> Self:
        """The same fact under another id."""
        return self.model_copy(update={"fact_id": fact_id})

    def to_json_dict(self) -> dict[str, Any]:
        """Flat, as the contract has it; what is null or empty in the envelope is left out."""
        body = self.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_defaults=False)
        head: dict[str, Any] = {"fact": self.fact_kind}
        for name in ("fact_id", "at", "host", "source", "ttl"):
            value = body.pop(name, None)
            if value not in (None, ""):
                head[name] = value
        return head | body

    def to_json(self) -> str:
        """The same as one JSON text, quicker. Raises `ValueError` for a lone surrogate, which UTF-8 has no form for."""
        empty = {name for name in _MAY_BE_EMPTY if not getattr(self, name)}
        body = self.model_dump_json(by_alias=True, exclude_none=True, exclude=empty)
        return f'{{"fact":"{self.fact_kind}",{body[1:]}'


class StateFact(Fact):
    """Something that is so until another fact of the same kind and key says otherwise, or it is taken back."""

    KEY: ClassVar[tuple[str, ...] | None] = ()


class EventFact(Fact):
    """Something that happened; it expires."""


class Retraction(BaseModel):
    """Takes a state fact back: what it described is gone. The key's parts are joined with `|` where there are several."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    retract: str = Field(min_length=1, max_length=255, description="Kind of the fact that goes.")
    key: str = Field(default="", max_length=4096, description="Its key; parts joined with |.")
    at: UtcTime
    fact_id: str = Field(default="", max_length=512)
    host: str = Field(default="", max_length=255)
    source: str = Field(default="", max_length=255)

    @model_validator(mode="before")
    @classmethod
    def _key_as_text(cls, data: Any) -> Any:
        """A numeric key (a process id, say) may be written as a number."""
        if isinstance(data, dict) and isinstance(data.get("key"), int) and not isinstance(data.get("key"), bool):
            return {**data, "key": str(data["key"])}
        return data

    at_micros: ClassVar[_Micros] = _Micros()
    """Event time in microseconds since the epoch."""

    def to_json_dict(self) -> dict[str, Any]:
        """Flat, as the contract has it."""
        body = self.model_dump(mode="json", exclude_none=True)
        return {name: value for name, value in body.items() if value != "" or name == "key"}
