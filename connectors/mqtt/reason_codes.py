"""Why a broker did not let us in or did not take a message, in one sentence; and what follows from it. Pure."""

import socket
import ssl
from dataclasses import dataclass
from typing import Literal

import aiomqtt
from paho.mqtt.reasoncodes import ReasonCode

from connectors.mqtt.settings import BrokerSettings
from engine.errors import BrokerError

# Reason codes of MQTT 5.0, 2.4. Of a server of version 3.1.1 paho gives the return codes as these, too.
UNSUPPORTED_VERSION = 0x84
_FAILURE = 0x80
"""Every code from here on is a refusal (2.4): also "no matching subscribers" (0x10) is a success."""
_PERMANENT = frozenset(
    {
        0x82,  # protocol error
        0x90,  # topic name invalid
        0x95,  # packet too large
        0x99,  # payload format invalid
        0x9B,  # QoS not supported
    }
)
"""What is no better when it is sent again."""

Verdict = Literal["taken", "denied", "permanent"]


class RefusedError(BrokerError):
    """The broker answered, and does not let us in."""


class VersionRefusedError(RefusedError):
    """The broker does not speak this version of MQTT."""


class ClosedUnansweredError(BrokerError):
    """The connection was closed without an answer: no broker, a broken one, or one that does not know this version of MQTT."""


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """The broker's answer to a message. taken: it has it. denied: not now, not to us. permanent: never."""

    verdict: Verdict
    reason: str = ""


def acknowledgement(code: ReasonCode) -> Acknowledgement:
    """What a PUBACK's reason code means for the row. MQTT 3.1.1 has none there: a denied message looks taken."""
    if code.value < _FAILURE:
        return Acknowledgement("taken")
    return Acknowledgement("permanent" if code.value in _PERMANENT else "denied", f"{code.getName()} (0x{code.value:02X})")


def connect_error(error: BaseException, settings: BrokerSettings) -> BrokerError:
    """The error to report, for what aiomqtt raised when connecting or while connected."""
    where = settings.where
    if isinstance(error, aiomqtt.MqttCodeError) and isinstance(error.rc, ReasonCode):
        return _from_code(error.rc, settings)
    # aiomqtt raises MqttError "from None" with the text alone; Python keeps the cause in __context__.
    cause = error.__context__ if isinstance(error, aiomqtt.MqttError) and error.__context__ is not None else error
    match cause:
        case ssl.SSLCertVerificationError():
            return BrokerError(f"{where}: TLS: the broker's certificate is not accepted: {cause.verify_message}")
        case ssl.SSLError():
            return BrokerError(
                f"{where}: TLS: {cause.reason or cause}; does this port speak TLS, and does it ask for a certificate?"
            )
        case socket.gaierror():
            return BrokerError(f"{where}: the host name {settings.host!r} is not known ({cause.strerror})")
        case ConnectionRefusedError():
            return BrokerError(f"{where}: nothing listens there (connection refused)")
        case ConnectionResetError() | BrokenPipeError():
            return BrokerError(
                f"{where}: the connection was reset; does this port speak {'TLS' if settings.tls else 'MQTT without TLS'}?"
            )
        case TimeoutError():
            return BrokerError(f"{where}: no answer within {settings.connect_timeout_s:g} s")
        case OSError():
            return BrokerError(f"{where}: {cause.strerror or cause}")
        case _:
            return BrokerError(f"{where}: {error}")


_LET_IN = frozenset({0x84, 0x85, 0x86, 0x87, 0x8A, 0x8C, 0x97, 0x9A, 0x9B, 0x9F})
"""What does not change by itself in a moment: the reason code of a CONNACK that is about who we are or what we ask for."""

_BY_CODE = {
    0x80: "the connection was lost",  # what paho makes of a socket that closed
    0x85: "the client id is refused: set another one (client_id)",
    0x86: "bad user name or password ({who})",
    0x87: "not authorised: {who} is not let in, or the password is wrong",  # Mosquitto answers so to a wrong password as well
    0x88: "the broker is not available now",
    0x89: "the broker is busy",
    0x8A: "{who} is banned",
    0x8B: "the broker shuts down",
    0x8D: "the broker does not answer any more",
    0x8E: "another client took the session over: does a second dockwarden run for this host name?",
    0x97: "a quota of the broker is exceeded",
    0x9A: "the broker keeps no retained messages, which alerts and status need",
    0x9B: "the broker knows no acknowledgements (QoS 1): nothing could be sent safely",
    0x9F: "the broker is connected to too often",
}


def _from_code(code: ReasonCode, settings: BrokerSettings) -> BrokerError:
    """A CONNACK or DISCONNECT that refuses."""
    if code.value == UNSUPPORTED_VERSION:
        return VersionRefusedError(f"{settings.where}: this version of MQTT is refused")
    text = _BY_CODE.get(code.value, f"{code.getName()} (0x{code.value:02X})")
    who = f"user {settings.username!r}" if settings.username else "a client without a user name"
    kind = RefusedError if code.value in _LET_IN else BrokerError
    return kind(f"{settings.where}: {text.format(who=who)}")
