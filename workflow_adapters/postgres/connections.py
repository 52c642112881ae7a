"""All connections of one backend: its lanes, opened and closed together."""

from collections.abc import Mapping
from typing import Self

from .lane import Lane
from .server import Connection, Row, Server, ServerSettings

__all__ = ["Connection", "Connections", "Lane", "Row", "ServerSettings"]

_CLOSE_WITHIN = 5.0
"""Seconds that closing waits for what is under way before it cuts the connections."""

_CUT_WITHIN = 1.0
"""Seconds that it waits for the end of what was cut."""

PLANNER: Mapping[str, str] = {
    # The statements are few and known. An index serves each of them, also while the statistics of a table are poor.
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_mergejoin": "off",
    "jit": "off",
}


class Connections:
    """All lanes of one backend, and the way to a connection of one's own.

    Attributes:
        server: how the server is reached.
    """

    def __init__(self, server: ServerSettings) -> None:
        self.server = server
        self._server = Server(server)
        self._lanes: list[Lane] = []

    def lane(self, name: str, size: int, *, within: float | None = None, **settings: str) -> Lane:
        """A new lane; connections are opened when they are first needed, and named for `pg_stat_activity`.

        A statement that takes longer than `within` seconds (the command timeout, if not given) counts as lost; and the
        server rolls a transaction back in which nothing happens for so long, because a process that freezes or
        vanishes must not keep its locks.
        """
        within = within or self.server.command_timeout
        idle = {"idle_in_transaction_session_timeout": f"{int(within * 1000)}ms"}
        lane = Lane(self._server, name, size, {**PLANNER, **idle, **settings}, within)
        self._lanes.append(lane)
        return lane

    async def connect(
        self, name: str, settings: Mapping[str, str], *, within: float | None, listening: bool = False
    ) -> Connection:
        """A connection of the caller's own; see `Server.connect`."""
        return await self._server.connect(name, settings, within=within, listening=listening)

    def insist(self, setting: str, value: str) -> None:
        """Have this setting on every connection of every lane."""
        for lane in self._lanes:
            lane.insist({setting: value})

    async def __aenter__(self) -> Self:
        """Connections are allowed from now on; each is made when it is first needed."""
        self._server.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Wait a few seconds for what is under way, then close everything."""
        await self._server.quiet(_CLOSE_WITHIN)
        self._server.close()
        for lane in self._lanes:
            await lane.close()
        await self._server.quiet(_CUT_WITHIN)
