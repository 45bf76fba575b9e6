"""How to reach the broker. Reads no file and no environment: the composition root hands in what those hold."""

from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import unquote, urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from engine.errors import SettingsError

_PORTS: dict[str, int] = {"mqtt": 1883, "mqtts": 8883}
"""As registered with IANA."""


class BrokerSettings(BaseModel):
    """Everything about one broker. Times are in seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = Field(min_length=1, description="Name or address.")
    port: int = Field(ge=1, le=65535)
    others: tuple[tuple[str, Annotated[int, Field(ge=1, le=65535)]], ...] = Field(
        default=(), description="Further servers of a cluster, tried in turn when one cannot be reached or is lost."
    )
    unix_socket: Path | None = Field(default=None, description="Connect to this socket instead of host and port.")
    tls: bool = False
    username: str | None = None
    password: SecretStr | None = None
    password_file: Path | None = Field(
        default=None, description="Over `password`; read at each connection, its last line break left out."
    )
    ca_file: Path | None = Field(default=None, description="Whom to trust; None: the system's certificate authorities.")
    cert_file: Path | None = Field(default=None, description="Our own certificate, for brokers that ask for one.")
    key_file: Path | None = Field(default=None, description="The key to it; None: it stands in cert_file.")
    check_hostname: bool = Field(
        default=True, description="False accepts a certificate of the CA for any name. Never the default."
    )
    client_id: str | None = Field(
        default=None,
        max_length=128,
        description=(
            "Name of the session. None: dockwarden-HOST. It must be the same at each connection: only then does the broker end a"
            " half-dead predecessor before it lets the new one in, whose status the predecessor's will would overwrite later."
        ),
    )
    protocol: Literal["auto", "5", "3.1.1"] = Field(
        default="auto", description="auto: 5, and 3.1.1 where the broker refuses that."
    )
    keepalive_s: int = Field(
        default=10,
        ge=1,
        le=3600,
        description="A dead broker is noticed after about twice this; so long the will may be late, too.",
    )
    connect_timeout_s: float = Field(default=10, gt=0, description="For the connection and the broker's answer, each.")
    ack_timeout_s: float = Field(
        default=30, gt=0, description="Without an acknowledgement for so long the connection is given up."
    )
    in_flight: int = Field(
        default=20,
        ge=1,
        le=1000,
        description="Messages under way at a time; 20 is Mosquitto's own limit (max_inflight_messages).",
    )
    retry_first_s: float = Field(
        default=2,
        gt=0,
        description="Longest pause after the first failure to connect; doubled each time, a random part of it waited.",
    )
    retry_max_s: float = Field(default=60, gt=0, description="… up to this, or to 10 s while nobody answers.")
    denied_retry_s: float = Field(default=60, gt=0, description="Pause before a topic that the broker denied is tried again.")
    commands: bool = Field(
        default=False, description="Listen to dockwarden/HOST/command/+. Whoever may publish there commands us."
    )

    @property
    def where(self) -> str:
        """Host and port, for messages. No user, no password."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'mqtts' if self.tls else 'mqtt'}://{host}:{self.port}"

    @property
    def servers(self) -> tuple[Self, ...]:
        """The same for each server of a cluster, this one first."""
        return (self, *(self.model_copy(update={"host": host, "port": port}) for host, port in self.others))

    @property
    def has_password(self) -> bool:
        """Whether we prove who we are by a password."""
        return self.password is not None or self.password_file is not None

    @property
    def encrypted(self) -> bool:
        """Whether nobody between us and the broker can listen: by TLS, or because both are on this host."""
        return self.tls or self.unix_socket is not None or self.host == "localhost" or _is_loopback(self.host)

    @classmethod
    def from_url(cls, url: str, **others: object) -> Self:
        """From `mqtt://[USER[:PASSWORD]@]HOST[:PORT][,HOST[:PORT]…]` or `mqtts://…`; parts may be percent-encoded.

        Args:
            url: where to. A password is better handed in by itself: a URL is shown in process lists and logs.
            others: further settings, which count more than the URL; those that are None are as good as not given.

        Raises:
            SettingsError: it is no such URL. The message does not repeat it, for it may hold a password.
        """
        url, *others_too = _servers(url)
        try:
            parts = urlsplit(url)
            port = parts.port
            more = [(part.hostname or "", part.port) for part in map(urlsplit, others_too)]
        except ValueError as error:
            raise SettingsError(f"the broker's URL cannot be read: {_harmless(error)}") from None
        if parts.scheme not in _PORTS:
            raise SettingsError("the broker's URL must begin with mqtt:// or mqtts://, as in mqtts://user@broker.example:8883")
        if not parts.hostname or not all(host for host, _ in more):
            raise SettingsError("the broker's URL names no host, as in mqtt://broker.example:1883")
        if parts.path not in {"", "/"} or parts.query or parts.fragment:
            raise SettingsError("the broker's URL ends after the port: topics are given by the contract")
        values: dict[str, object] = {
            "host": parts.hostname,
            "port": _PORTS[parts.scheme] if port is None else port,
            "others": [(host, _PORTS[parts.scheme] if other is None else other) for host, other in more],
            "tls": parts.scheme == "mqtts",
            "username": unquote(parts.username) if parts.username else None,
        }
        if parts.password:
            values["password"] = SecretStr(unquote(parts.password))
        values |= {name: value for name, value in others.items() if value is not None}
        try:
            return cls.model_validate(values)
        except ValueError as error:
            raise SettingsError(f"the broker's settings: {_harmless(error)}") from None


def _servers(url: str) -> list[str]:
    """A URL for each of the hosts that it names; without user and password but for the first."""
    scheme, slashes, rest = url.partition("://")
    user, at, hosts = rest.rpartition("@")
    first, *others = hosts.split(",")
    return [f"{scheme}{slashes}{user}{at}{first}", *(f"{scheme}{slashes}{host}" for host in others)]


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _harmless(error: ValueError) -> str:
    """What is wrong, without the value that is."""
    errors = getattr(error, "errors", None)
    if errors is None:
        # urllib repeats a port that is no number in the message.
        return "the port must be a number from 1 to 65535" if "ort" in str(error) else "its host is not well-formed"
    return "; ".join(
        f"{'.'.join(str(part) for part in fault['loc'])}: {fault['msg']}"
        for fault in errors(include_input=False, include_url=False)
    )
