"""Where the engine listens. Knows no HTTP."""

from collections.abc import Callable, Mapping
from pathlib import Path

from engine.errors import SettingsError

USUAL_SOCKETS = ("/var/run/docker.sock", "/run/docker.sock")
"""Where packages of Docker put it. Podman's socket is not looked for: its API has no dead containers to find."""

_SCHEMES = ("unix://", "tcp://", "http://", "https://")


def is_socket(path: str) -> bool:
    """True where a socket is, or may be (a folder that we may not look into counts: the error of connecting tells more)."""
    try:
        return Path(path).is_socket()
    except PermissionError:
        return True


def resolve(docker_host: str | None, *, exists: Callable[[str], bool] = is_socket) -> str:
    """The engine's address: what DOCKER_HOST says, else the first usual socket that is there, else the usual one anyway.

    A socket that is not there yet is an address all the same: the engine may be started later.

    Raises:
        SettingsError: the address is of a kind that is not understood.
    """
    if docker_host:
        address = f"unix://{docker_host}" if docker_host.startswith("/") else docker_host
        if not address.startswith(_SCHEMES) or address in _SCHEMES:
            raise SettingsError(f"DOCKER_HOST {docker_host!r} is not understood: unix:///path/to.sock or tcp://host:port is")
        return address
    return "unix://" + next((path for path in USUAL_SOCKETS if exists(path)), USUAL_SOCKETS[0])


def from_environment(environment: Mapping[str, str]) -> str:
    """The engine's address by DOCKER_HOST of this environment. Raises as `resolve` does."""
    return resolve(environment.get("DOCKER_HOST") or None)
