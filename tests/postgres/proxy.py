"""A way to the server that reads the protocol along: it cuts at a message, swallows one direction, or is slow.

Knows of Postgres only how messages are framed and that the first one of a connection names its application, so that a
fault can be planted on the connections of one lane.
"""

import asyncio
from collections import Counter
from contextlib import suppress
from typing import Literal, NamedTuple, Self
from urllib.parse import urlsplit, urlunsplit

__all__ = ["TO_CLIENT", "TO_SERVER", "Point", "Proxy"]

Direction = Literal["to the server", "to the client"]
TO_SERVER: Direction = "to the server"
TO_CLIENT: Direction = "to the client"

_UNTYPED = 8
"""Bytes of a message before its type is known, or of the first one of a connection, which has none."""


class Point(NamedTuple):
    """Where a connection is cut: after this share of this message (counted from 0) in this direction."""

    direction: Direction
    message: int
    share: float


class _Pair:
    """One connection of a client and its own connection to the server."""

    def __init__(self, client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        self.application = ""
        self.client, self.server = client, server

    def cut(self) -> None:
        self.client.transport.abort()
        self.server.transport.abort()


class Proxy:
    """Forwards connections to the server of a URL.

    Attributes:
        url: the address to use instead.
        counts: messages that have passed on the watched lane since it was watched, by direction.
        struck: how many connections were cut at a point.
        swallowed: directions in which nothing arrives any more.
        latency: seconds that every piece of data takes, each way.
    """

    def __init__(self, url: str) -> None:
        self._target = urlsplit(url)
        self.url = url
        self.counts: Counter[Direction] = Counter()
        self.struck = 0
        self.swallowed: set[Direction] = set()
        self.latency = 0.0
        self._lane, self._point = "", None
        self._pairs: set[_Pair] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        user = f"{self._target.netloc.rpartition('@')[0]}@" if "@" in self._target.netloc else ""
        changed = self._target._replace(netloc=f"{user}127.0.0.1:{port}", query="sslmode=disable")
        self.url = urlunsplit(changed)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self.cut_all()
        while self._tasks:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def connections(self) -> int:
        """How many are open."""
        return len(self._pairs)

    def watch(self, lane: str, point: Point | None = None) -> None:
        """Count the messages of connections with this application name from now on, and cut at that point, once."""
        self._lane, self._point = f"workflow {lane}", point
        self.counts.clear()

    def cut_all(self) -> None:
        """Break every connection."""
        for pair in tuple(self._pairs):
            pair.cut()

    def cut_one(self, number: int) -> None:
        """Break one of the connections that are open."""
        if self._pairs:
            sorted(self._pairs, key=id)[number % len(self._pairs)].cut()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, to_there = await asyncio.open_connection(self._target.hostname, self._target.port)
        except OSError:
            writer.transport.abort()
            return
        pair = _Pair(writer, to_there)
        self._pairs.add(pair)
        both = (self._pump(pair, reader, to_there, TO_SERVER), self._pump(pair, there, writer, TO_CLIENT))
        for coroutine in both:
            task = asyncio.ensure_future(coroutine)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pump(
        self, pair: _Pair, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, direction: Direction
    ) -> None:
        try:
            with suppress(ConnectionError):
                await self._forward(pair, reader, writer, direction)
        finally:
            # A half that has ended ends the other, as a closed socket does.
            self._pairs.discard(pair)
            pair.client.close()
            pair.server.close()

    async def _forward(
        self, pair: _Pair, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, direction: Direction
    ) -> None:
        data, first = b"", direction == TO_SERVER
        while more := await reader.read(65_536):
            if self.latency:
                await asyncio.sleep(self.latency)
            data += more
            passing = b""
            while (size := _size(data, first)) and size <= len(data):
                message, data = data[:size], data[size:]
                if first:
                    pair.application, first = _application(message), False
                share = self._strikes(pair, direction)
                if share is not None:
                    await self._send(writer, passing + message[: int(size * share)], direction)
                    self.struck += 1
                    pair.client.transport.abort()
                    return
                passing += message
            await self._send(writer, passing, direction)

    async def _send(self, writer: asyncio.StreamWriter, data: bytes, direction: Direction) -> None:
        if direction not in self.swallowed and data:
            writer.write(data)
            await writer.drain()

    def _strikes(self, pair: _Pair, direction: Direction) -> float | None:
        """How much of this message still passes if the connection is cut here; None if it is not."""
        if pair.application != self._lane:
            return None
        number = self.counts[direction]
        self.counts[direction] += 1
        if self._point is None or (self._point.direction, self._point.message) != (direction, number):
            return None
        point, self._point = self._point, None
        return point.share


def _size(data: bytes, first: bool) -> int:
    """How long the message at the beginning is; 0 while that is not known."""
    if len(data) < (_UNTYPED if first else 5):
        return 0
    return int.from_bytes(data[:4]) if first else 1 + int.from_bytes(data[1:5])


def _application(startup: bytes) -> str:
    fields = startup[_UNTYPED:].split(b"\0")
    named = dict(zip(fields[::2], fields[1::2], strict=False))
    return named.get(b"application_name", b"").decode()
