"""The Docker Engine API over HTTP, by aiodocker's low-level query call: the only module that speaks it.

One client is one pool of connections. Events, probes and remedies each get their own, so that a call that hangs takes no
connection from the others.

The API version is negotiated once, by the header that `/_ping` answers with: `/version`, which aiodocker would ask, hangs when
containerd hangs. It is negotiated anew after Docker was gone, since it may come back as another version.
"""

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiodocker
import aiohttp

from connectors.docker.api import readings
from connectors.docker.api.errors import AIODOCKER_NO_CONNECTION, refused, unreachable
from engine.errors import DockerError, SettingsError
from engine.ports.docker import ContainerDetail, ContainerSummary, DockerInfo, DockerVersion, ImageSummary, Pruned, VolumeSummary

_API_VERSION = re.compile(r"[0-9]{1,2}\.[0-9]{1,3}\Z")
_OLDEST_API = "1.24"
"""Docker 1.12, the oldest in the incidents; daemons that name no version in `/_ping` are of that time."""

USUAL_SOCKETS = ("/var/run/docker.sock", "/run/docker.sock")
"""Where packages of Docker put it. Podman's socket is not looked for: its API has no dead containers to find."""

_SCHEMES = ("unix://", "tcp://", "http://", "https://")

_LARGE_BYTES = 256 * 1024
"""Above this an answer is parsed in a thread: 1.9 MB (3,000 containers) take 20 ms, which the event stream would wait for."""

_ANSWER_BYTES = 256 * 1024 * 1024
"""No list is that long: 6,000 containers with 40 KB of labels each."""


MAX_UNANSWERED = 8
"""Calls of a kind that may be given up in a row, on one client. Docker goes on with each of them, waiting for the same lock: a
night of asking again and again would leave thousands behind."""

UNANSWERED_S = 600.0
"""After so many seconds one more is tried. Sooner when the health probe, which waits for its first call, has its answer."""


class Unanswered:
    """Counts calls that nobody answered, by kind, and stops further ones. Time is the loop's."""

    def __init__(self) -> None:
        self._in_a_row: dict[str, int] = {}
        self._not_before: dict[str, float] = {}

    def clear(self) -> None:
        """Docker answers again."""
        self._in_a_row.clear()
        self._not_before.clear()

    @contextlib.contextmanager
    def watch(self, kind: str) -> Iterator[None]:
        """Around a call.

        Raises:
            DockerError: `unreachable`: too many were not answered, this one is not made.
        """
        now = asyncio.get_running_loop().time()
        if now < self._not_before.get(kind, 0.0):
            count = self._in_a_row[kind]
            raise DockerError(f"Docker hangs: {count} calls of {kind} in a row were not answered", kind="unreachable")
        try:
            yield
        except asyncio.CancelledError:  # by a time-out of the caller's
            self._unanswered(kind)
            raise
        except DockerError as error:
            if error.kind == "timeout":
                self._unanswered(kind)
            else:
                self._in_a_row.pop(kind, None)
            raise
        self._in_a_row.pop(kind, None)

    def _unanswered(self, kind: str) -> None:
        self._in_a_row[kind] = self._in_a_row.get(kind, 0) + 1
        if self._in_a_row[kind] >= MAX_UNANSWERED:
            self._not_before[kind] = asyncio.get_running_loop().time() + UNANSWERED_S


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long to wait, in seconds."""

    connect: float = 5.0
    """For the connection. On a local socket it takes microseconds, or for ever when Docker's backlog is full."""
    call: float = 30.0
    """For one whole call. A list of 3,000 containers takes 0.14 s, on a busy host some seconds."""
    remove: float = 60.0
    """For a removal: Docker itself tries a busy one for 5 s, and large layers take long to delete."""
    answer: float = 10.0
    """For the first byte of the event stream."""


class DockerClient:
    """A `DockerApi` over HTTP. Create it inside a running event loop, and close it."""

    def __init__(self, address: str, *, timeouts: Timeouts | None = None) -> None:
        """No connection is made yet.

        Args:
            address: as `resolve` gives it.
            timeouts: None: the defaults.
        """
        self.address = address
        self._timeouts = timeouts or Timeouts()
        self._api = ""
        self.unanswered = Unanswered()
        self._docker = aiodocker.Docker(
            url=address,
            api_version=f"v{_OLDEST_API}",  # replaced by what is negotiated
            timeout=self._limit(self._timeouts.call),
        )

    def _limit(self, total_s: float | None) -> aiohttp.ClientTimeout:
        return aiohttp.ClientTimeout(total=total_s, sock_connect=self._timeouts.connect)

    async def close(self) -> None:
        """Give the connections back. May be called twice."""
        await self._docker.close()

    async def ping(self) -> None:
        """See the port. Settles the API version too."""
        with self.unanswered.watch("ping"):
            async with self._answer("_ping", limit=self._limit(self._timeouts.call), versioned=False) as response:
                await self._read(response)
                named = response.headers.get("Api-Version", "")
        self._api = named if _API_VERSION.match(named) else _OLDEST_API
        self._docker.api_version = f"v{self._api}"

    async def version(self) -> DockerVersion:
        """See the port."""
        return readings.version(await self._json("version", "version"))

    async def info(self) -> DockerInfo:
        """See the port."""
        return readings.info(await self._json("info", "info"))

    async def list_containers(self, *, ids: Collection[str] = (), statuses: Collection[str] = ()) -> list[ContainerSummary]:
        """See the port."""
        filters = {name: list(values) for name, values in (("id", ids), ("status", statuses)) if values}
        query = {"all": "1"} | ({"filters": json.dumps(filters)} if filters else {})
        return readings.summaries(await self._json("list", "containers/json", query=query))

    async def inspect(self, container: str) -> ContainerDetail:
        """See the port."""
        detail = readings.detail(await self._json("inspect", f"containers/{_checked(container)}/json"))
        if detail is None:
            raise DockerError(f"inspect of {container} gave an answer without an id", kind="failed")
        return detail

    async def remove(self, container: str, *, force: bool = False, volumes: bool = False) -> None:
        """See the port."""
        query = {"force": str(int(force)), "v": str(int(volumes))}
        await self._json(
            "remove", f"containers/{_checked(container)}", method="DELETE", query=query, total_s=self._timeouts.remove
        )

    async def restart(self, container: str, *, timeout_s: int | None = None) -> None:
        """See the port."""
        query = {} if timeout_s is None else {"t": str(timeout_s)}
        total = self._timeouts.call + (10 if timeout_s is None else timeout_s)
        await self._json("restart", f"containers/{_checked(container)}/restart", method="POST", query=query, total_s=total)

    async def start_container(self, container: str) -> None:
        """See the port."""
        await self._json("start", f"containers/{_checked(container)}/start", method="POST")

    async def prune_images(self) -> Pruned:
        """See the port."""
        query = {"filters": json.dumps({"dangling": ["true"]})}
        answer = await self._json("prune", "images/prune", method="POST", query=query, total_s=self._timeouts.remove)
        return readings.pruned(answer)

    async def list_images(self) -> list[ImageSummary]:
        """See the port."""
        return readings.images(await self._json("images", "images/json"))

    async def list_unused_volumes(self) -> list[VolumeSummary]:
        """See the port."""
        query = {"filters": json.dumps({"dangling": ["true"]})}
        return readings.volumes(await self._json("volumes", "volumes", query=query))

    @asynccontextmanager
    async def events(self, *, since: str) -> AsyncIterator[AsyncIterator[bytes]]:
        """See the port."""
        await self._negotiate()
        # No bound for the whole: a stream has no end. What waits for its bytes has a time-out of its own.
        limit = self._limit(None)
        async with self._answer("events", query={"since": since}, limit=limit, first_byte_s=self._timeouts.answer) as response:
            yield self._chunks(response)

    async def _chunks(self, response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
        try:
            async for chunk in response.content.iter_any():
                yield chunk
        except (aiohttp.ClientError, OSError) as error:
            raise self._gone(error) from error

    async def _negotiate(self) -> None:
        if not self._api:
            await self.ping()

    async def _json(
        self, kind: str, path: str, *, method: str = "GET", query: Mapping[str, str] | None = None, total_s: float | None = None
    ) -> Any:
        """The answer as JSON; None where it has no body."""
        await self._negotiate()
        limit = self._limit(total_s or self._timeouts.call)
        with self.unanswered.watch(kind):
            async with self._answer(path, method=method, query=query, limit=limit) as response:
                body = await self._read(response)
        if not body:
            return None
        try:
            return await asyncio.to_thread(_parse, body) if len(body) > _LARGE_BYTES else _parse(body)
        except (ValueError, RecursionError) as error:
            raise DockerError(f"the answer to {method} /{path} cannot be read: {error}", kind="failed") from error

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        body = bytearray()
        try:
            async for chunk in response.content.iter_any():
                body += chunk
                if len(body) > _ANSWER_BYTES:
                    raise DockerError(f"an answer of more than {_ANSWER_BYTES} bytes is no answer", kind="failed")
        except (aiohttp.ClientError, OSError) as error:
            raise self._gone(error) from error
        return bytes(body)

    @asynccontextmanager
    async def _answer(
        self,
        path: str,
        *,
        limit: aiohttp.ClientTimeout,
        method: str = "GET",
        query: Mapping[str, str] | None = None,
        versioned: bool = True,
        first_byte_s: float | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """The response to a request; closed in any case, since a leaked stream holds its connection for ever."""
        async with AsyncExitStack() as stack:
            try:
                async with asyncio.timeout(first_byte_s):
                    request = self._docker._query(  # noqa: SLF001 - the one call that gives the raw stream; the version is pinned
                        path, method, params=dict(query or {}), timeout=limit, versioned_api=versioned
                    )
                    response = await stack.enter_async_context(request)
            except aiodocker.DockerError as error:
                if error.status == AIODOCKER_NO_CONNECTION:
                    raise self._gone(error) from error
                raise refused(error.status, error.message) from error
            except (aiohttp.ClientError, OSError) as error:  # TimeoutError is an OSError
                raise self._gone(error) from error
            except (ValueError, LookupError, TypeError, RecursionError) as error:
                # aiodocker reads the text of a refusal, and stumbles over one that is no UTF-8 or no JSON.
                raise DockerError(f"the answer to {method} /{path} cannot be read: {error}", kind="failed") from error
            stack.callback(response.close)  # keeps the connection when the body was read to its end
            yield response

    def _gone(self, error: BaseException) -> DockerError:
        what = unreachable(error, self.address)
        if what.kind != "timeout":
            self._api = ""  # it may come back as another version
        return what


def _parse(body: bytes) -> Any:
    with contextlib.suppress(UnicodeDecodeError):
        return json.loads(body)
    return json.loads(body.decode("utf-8", "replace"))


def _checked(container: str) -> str:
    """An id or name fit to stand in a path: nothing that a rule hands over may ask for another resource."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,254}", container):
        raise DockerError(f"{container[:80]!r} is no container id", kind="not_found")
    return container


def is_socket(path: str) -> bool:
    """True where a socket is, or may be (a folder that we may not look into counts: the error of connecting says more)."""
    try:
        return Path(path).is_socket()
    except PermissionError:
        return True


def resolve(docker_host: str | None, *, exists: Callable[[str], bool] = is_socket) -> str:
    """Docker's address: what DOCKER_HOST says, else the first usual socket that is there, else the usual one anyway.

    A socket that is not there yet is an address all the same: Docker may be started later.

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
    """Docker's address by DOCKER_HOST of this environment. Raises as `resolve` does."""
    return resolve(environment.get("DOCKER_HOST") or None)
