"""The client against a server that answers as it likes: every fault becomes an DockerError, within a bounded time."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from connectors.docker.api.client import MAX_UNANSWERED, DockerClient, Timeouts
from engine.errors import DockerError

ID = "0123456789abcdef" * 4
QUICK = Timeouts(connect=0.5, call=0.5, remove=0.5, answer=0.5)
PING = b"HTTP/1.1 200 OK\r\nApi-Version: 1.41\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nOK"

Answer = Callable[[str], bytes | None]


def reply(body: bytes, status: str = "200 OK", content_type: str = "application/json") -> bytes:
    """An HTTP answer."""
    return f"HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


@asynccontextmanager
async def serving(folder: Path, answer: Answer, *, timeouts: Timeouts = QUICK, tcp: bool = False) -> AsyncIterator[DockerClient]:
    """A client of a server that says `answer(request line)`; None: nothing, and the connection stays open."""
    held: list[asyncio.StreamWriter] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        held.append(writer)
        while line := (await reader.readline()).decode():
            while await reader.readline() not in (b"\r\n", b""):
                pass
            reply_bytes = PING if "/_ping" in line and answer is not silent else answer(line)
            if reply_bytes is not None:
                writer.write(reply_bytes)
                await writer.drain()

    path = folder / "docker.sock"
    server = await (asyncio.start_server(handle, "127.0.0.1", 0) if tcp else asyncio.start_unix_server(handle, path))
    address = f"tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}" if tcp else f"unix://{path}"
    client = DockerClient(address, timeouts=timeouts)
    try:
        yield client
    finally:
        await client.close()
        for writer in held:
            writer.close()
        server.close()
        await server.wait_closed()


def silent(_: str) -> None:
    """Connecting works, nothing is answered."""


async def kind_of(client: DockerClient) -> tuple[str, str]:
    """What listing raises."""
    with pytest.raises(DockerError) as caught:
        await client.list_containers()
    return caught.value.kind, str(caught.value)


async def test_the_version_is_negotiated_once_by_ping(tmp_path: Path) -> None:
    """Not by /version, which hangs when containerd does; then it stands in each address."""
    asked: list[str] = []

    def answer(line: str) -> bytes:
        asked.append(line.split()[1])
        return reply(b"[]")

    async with serving(tmp_path, answer) as client:
        await client.list_containers()
        await client.list_containers()
    assert asked == ["/v1.41/containers/json?all=1"] * 2


async def test_an_address_over_tcp_works(tmp_path: Path) -> None:
    """As DOCKER_HOST=tcp://… names it."""
    async with serving(tmp_path, lambda _: reply(json.dumps([{"Id": ID}]).encode()), tcp=True) as client:
        assert [entry.id for entry in await client.list_containers()] == [ID]


@pytest.mark.parametrize(
    ("answer", "kind", "text"),
    [
        (reply(b"{broken"), "failed", "cannot be read"),
        (reply(b"[" * 100_000), "failed", "cannot be read"),
        (reply(b"\xff\xfe", "500 Internal Server Error"), "failed", ""),
        (reply(b"{broken", "500 Internal Server Error"), "failed", "cannot be read"),
        (reply(b"{}", "500 Internal Server Error"), "failed", "cannot be read"),
        (reply(b"oops", "500 Internal Server Error", "text/plain"), "failed", "oops"),
        (reply(json.dumps({"message": "device or resource busy"}).encode(), "500 Internal Server Error"), "busy", "busy"),
        (reply(b"<html>", "502 Bad Gateway", "text/html"), "unreachable", "html"),
        (b"this is no HTTP\r\n\r\n", "unreachable", "broke"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n[", "timeout", "no answer"),
    ],
)
async def test_odd_answers_are_engine_errors(tmp_path: Path, answer: bytes, kind: str, text: str) -> None:
    """Broken JSON, broken UTF-8, proxies' pages, no HTTP, half an answer."""
    async with serving(tmp_path, lambda _: answer) as client:
        got, message = await kind_of(client)
        assert got == kind
        assert text in message


async def test_broken_text_within_good_json_is_read(tmp_path: Path) -> None:
    """A label in Latin-1 does not hide the list."""
    body = b'[{"Id": "' + ID.encode() + b'", "Labels": {"a": "caf\xe9"}}]'
    async with serving(tmp_path, lambda _: reply(body)) as client:
        (entry,) = await client.list_containers()
        assert entry.labels == {"a": "caf\ufffd"}


async def test_a_silent_server_is_a_timeout_for_calls_and_streams(tmp_path: Path) -> None:
    """Each call and the opening of the stream end by themselves."""
    async with serving(tmp_path, silent) as client:
        assert (await kind_of(client))[0] == "timeout"
        with pytest.raises(DockerError, match="no answer"):
            await client.events(since="0.0").__aenter__()


async def test_what_is_no_id_never_stands_in_an_address(tmp_path: Path) -> None:
    """A parameter with a slash or a question mark asks for nothing else than what was meant."""
    asked: list[str] = []

    def answer(line: str) -> bytes:
        asked.append(line)
        return reply(b"{}")

    async with serving(tmp_path, answer) as client:
        for odd in ("../images/prune", "a?force=1", "", "x" * 300, "a b", "ä"):
            with pytest.raises(DockerError, match="no container id"):
                await client.remove(odd)
            with pytest.raises(DockerError, match="no container id"):
                await client.inspect(odd)
    assert asked == []


async def test_where_nothing_is_the_advice_says_so(tmp_path: Path) -> None:
    """No socket at all, and something that nobody listens at."""
    (tmp_path / "stale.sock").touch()
    for name, text in (("docker.sock", "there is no socket"), ("stale.sock", "nobody listens")):
        path = tmp_path / name
        client = DockerClient(f"unix://{path}", timeouts=QUICK)
        kind, message = await kind_of(client)
        await client.close()
        assert kind == "unreachable"
        assert text in message


async def test_a_stream_gives_bytes_as_they_come_and_leaks_no_connection(tmp_path: Path) -> None:
    """Three streams left early hold none of the connections afterwards."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with serving(tmp_path, lambda _: head + b'5\r\n{"a":\r\n3\r\n1}\n\r\n') as client:
        for _ in range(3):
            async with client.events(since="1.5") as chunks:
                seen = b""
                while not seen.endswith(b"\n"):
                    seen += await anext(chunks)
                assert seen == b'{"a":1}\n'
        connector = client._docker.session.connector
        assert connector is not None
        assert not connector._acquired


async def test_a_docker_that_hangs_for_a_night_is_asked_a_bounded_number_of_times(tmp_path: Path) -> None:
    """Each call given up goes on in Docker: after a few of a kind in a row no more are made, until something is answered."""
    asked: list[str] = []

    def answer(line: str) -> bytes | None:
        asked.append(line)
        return None if hangs and "containers/json" in line else reply(b"[]" if "containers/json" in line else b"{}")

    hangs = True
    async with serving(tmp_path, answer, timeouts=Timeouts(connect=0.5, call=0.02)) as client:
        kinds = [(await kind_of(client))[0] for _ in range(50)]
        assert kinds == ["timeout"] * MAX_UNANSWERED + ["unreachable"] * (50 - MAX_UNANSWERED)
        assert len(asked) == MAX_UNANSWERED
        await client.info()
        hangs = False
        client.unanswered.clear()
        assert await client.list_containers() == []


async def test_calls_that_the_caller_gives_up_count_too(tmp_path: Path) -> None:
    """Whoever bounds a call from outside leaves it behind in Docker just the same; one that is answered begins the count anew."""
    asked: list[str] = []

    def answer(line: str) -> bytes | None:
        asked.append(line)
        return reply(b"[]") if len(asked) == 4 else None

    async with serving(tmp_path, answer, timeouts=Timeouts(connect=0.5, call=30)) as client:
        for _ in range(50):
            with suppress(TimeoutError, DockerError):
                async with asyncio.timeout(0.02):
                    await client.list_containers()
        assert len(asked) == 4 + MAX_UNANSWERED
