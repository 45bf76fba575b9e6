"""Which fact kinds there are: the built-in ones, and those that rules declare by asserting them."""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, ClassVar

from pydantic import ConfigDict, ValidationError
from pydantic_core import from_json

from engine.errors import BadFactError
from engine.facts.base import Fact, Retraction, StateFact
from engine.facts.docker import Container, ContainerEvent, Daemon, DaemonChange, DockerStorage, Image, MountLeak, Volume
from engine.facts.fleet import FLEET_KINDS
from engine.facts.host import ContainerUsage, Disk, Host, HostChange, Pressure, ProcessFiles, Sockets, Source
from engine.facts.logs import DaemonLog, KernelEvent, KubeletEvent, LogLine
from engine.facts.outcomes import ActionResult, Alert

BUILT_IN: tuple[type[Fact], ...] = (
    Container,
    ContainerEvent,
    Daemon,
    DaemonChange,
    KernelEvent,
    DaemonLog,
    KubeletEvent,
    LogLine,
    MountLeak,
    Image,
    Volume,
    DockerStorage,
    Disk,
    ProcessFiles,
    ContainerUsage,
    Pressure,
    Sockets,
    Host,
    HostChange,
    Source,
    ActionResult,
    Alert,
    *FLEET_KINDS,
)


_HEAD = re.compile(rb'\{"fact": ?"([a-z_]{1,64})", ?(?=")')
"""How a line of a recording begins."""


class DeclaredFact(StateFact):
    """A fact of a kind that a rule declares. One for each set of values: asserted again, it is the same fact, seen later."""

    model_config = ConfigDict(frozen=True, extra="allow")

    KIND: ClassVar[str] = "declared"

    fact: str
    """Its kind: the one name that no field of a fact can take."""

    @property
    def identity(self) -> tuple[str, ...]:
        """Kind and every value, by name."""
        values = self.__pydantic_extra__ or {}
        return (self.fact, *(f"{name}={values[name]!r}" for name in sorted(values)))

    @property
    def values(self) -> Mapping[str, Any]:
        """The fields, without the envelope."""
        return self.__pydantic_extra__ or {}

    def to_json(self) -> str:
        """As one JSON text; its kind is a field of its own here."""
        return json.dumps(self.to_json_dict(), ensure_ascii=False)

    @property
    def fact_kind(self) -> str:
        """Name of the declared kind."""
        return self.fact


class FactKinds:
    """Fact kinds by name. Immutable; `with_declared` makes a larger one."""

    def __init__(self, built_in: Iterable[type[Fact]] = BUILT_IN, declared: Iterable[str] = ()) -> None:
        self._models: dict[str, type[Fact]] = {model.KIND: model for model in built_in}
        self._declared = frozenset(declared)
        self._validate: dict[str, Callable[[dict[str, Any]], Fact]] = {
            kind: model.__pydantic_validator__.validate_python for kind, model in self._models.items()
        }
        self._from_json = {kind.encode(): model.__pydantic_validator__.validate_json for kind, model in self._models.items()}

    def __iter__(self) -> Iterator[str]:
        yield from self._models
        yield from sorted(self._declared)

    def __contains__(self, kind: str) -> bool:
        return kind in self._models or kind in self._declared

    def model(self, kind: str) -> type[Fact] | None:
        """The model of a built-in kind, None for any other."""
        return self._models.get(kind)

    def with_declared(self, kinds: Iterable[str]) -> "FactKinds":
        """These and the kinds that rules declare."""
        return FactKinds(self._models.values(), self._declared | frozenset(kinds))

    def read_line(self, line: bytes, number: int) -> Fact | Retraction:
        """A fact, or a retraction, from one line of JSON; without an id of its own it is given one by the number of the line.

        The same as `read` of the parsed line. A line as this program writes it, with the kind first, is parsed and validated in
        one go, without a dictionary between: half the time. Whatever that refuses is read the long way, which names the fault.

        Raises:
            BadFactError: as `read`, or it is no JSON object.
            ValueError: it is no JSON.
        """
        head = _HEAD.match(line)
        if head is not None and (validate := self._from_json.get(head[1])) is not None:
            try:
                fact: Fact = validate(b"{" + line[head.end() :])
            except ValidationError:
                pass
            else:
                return fact if fact.fact_id else fact.with_id(f"line-{number}")
        data = from_json(line)
        if not isinstance(data, dict):
            raise BadFactError("a fact is a JSON object")
        if not data.get("fact_id"):
            data["fact_id"] = f"line-{number}"
        return self.read(data)

    def read(self, data: Mapping[str, Any]) -> Fact | Retraction:
        """A fact, or a retraction, from its JSON object.

        Raises:
            BadFactError: it has no kind, the kind is unknown, or a field is missing, unknown or of the wrong type.
        """
        try:
            if "retract" in data:
                return Retraction.model_validate(data)
            kind = data.get("fact")
            if not isinstance(kind, str):
                raise BadFactError('a fact needs its kind: "fact": "container", say')
            body = {**data}
            del body["fact"]
            validate = self._validate.get(kind)
            if validate is not None:
                return validate(body)
            if kind in self._declared:
                return DeclaredFact.model_validate(body | {"fact": kind})
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(str(part) for part in first["loc"]) or "fact"
            raise BadFactError(f"{data.get('fact') or 'retraction'}: {where}: {first['msg']}") from error
        raise BadFactError(f"unknown fact kind {kind!r}; known: {', '.join(self)}")
