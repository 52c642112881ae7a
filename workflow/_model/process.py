"""Who works: the processes that share a backend, and the roles they hold."""

from datetime import datetime

import msgspec


class ProcessIdentity(msgspec.Struct, frozen=True, kw_only=True):
    """A process's description of itself when it joins a backend.

    Attributes:
        id: names the process among all that share the backend.
        host: the name of its machine.
        pid: its process ID there.
        release: of the user's program, as the backend was told; empty if it was not.
        started_at: when the backend was entered, by the machine's clock.
    """

    id: str
    host: str = ""
    pid: int = 0
    release: str = ""
    started_at: datetime | None = None


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """A process that holds or waits for roles.

    Attributes:
        identity: who it is. A process of an older release says less.
        wanted: the roles it holds or waits for.
        renewed_at: its last heartbeat, by the store's clock.
        expires_at: when it counts as gone without another one.
    """

    identity: ProcessIdentity
    wanted: tuple[str, ...] = ()
    renewed_at: datetime
    expires_at: datetime


class Holding(msgspec.Struct, frozen=True, kw_only=True):
    """Who holds a role, or held it last.

    Attributes:
        role: the role.
        process: id of the holder (`ProcessIdentity.id`).
        token: rises with each takeover.
        expires_at: when the lease runs out, or ran out, by the store's clock; None if the role was released.
    """

    role: str
    process: str
    token: int
    expires_at: datetime | None
