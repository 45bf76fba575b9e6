"""Stands between a client and a broker and plays an old one, that knows no MQTT 5, or one that is no broker at all."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Literal

Manner = Literal["refuses version 5", "closes on version 5", "talks rubbish", "says nothing"]

_LEVEL_AT = 6
"""Of the protocol level within what follows a CONNECT's fixed header: two bytes of length, `MQTT` (MQTT 3.1.1, 3.1.2)."""


class Relay:
    """Where it listens, and the protocol levels that clients asked for."""

    def __init__(self, port: int, manner: Manner) -> None:
        self.port = 0
        self.levels: list[int] = []
        self._broker = port
        self._manner = manner

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One client."""
        with suppress(OSError, asyncio.IncompleteReadError):
            if self._manner == "talks rubbish":
                writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                await writer.drain()
            elif self._manner == "says nothing":
                await reader.read()
            else:
                await self._relay(reader, writer)
        writer.close()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connect = await reader.read(4096)
        # The remaining length takes one byte below 128, else two.
        level = connect[(2 if connect[1] < 0x80 else 3) + _LEVEL_AT]
        self.levels.append(level)
        if level == 5:
            if self._manner == "refuses version 5":
                writer.write(b"\x20\x02\x00\x01")  # CONNACK, "unacceptable protocol version" (MQTT 3.1.1, 3.2.2.3)
                await writer.drain()
            return
        onward_reader, onward = await asyncio.open_connection("127.0.0.1", self._broker)
        onward.write(connect)
        back = asyncio.create_task(_copy(onward_reader, writer), name="relay back")
        try:
            await _copy(reader, onward)
        finally:
            back.cancel()
            onward.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()


@asynccontextmanager
async def relay(port: int, manner: Manner) -> AsyncIterator[Relay]:
    """Listen on a free port of loopback, in front of the broker on `port`."""
    made = Relay(port, manner)
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
