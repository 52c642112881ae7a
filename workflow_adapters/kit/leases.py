"""The stored facts behind roles, and the storage that a lease keeper needs.

A store keeps one row for each live process (its wishes and its last heartbeat) and one for each role (its holder, a
token that rises with each takeover, and the end of the lease). The store's own clock judges all of them.
"""

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol, TypeAlias

__all__ = ["Beat", "Choose", "HeldRole", "LeaseStore", "LiveProcess", "Picture", "TakenRole", "is_valid"]


class LiveProcess(NamedTuple):
    """A process whose last heartbeat still counts.

    Attributes:
        roles: the group ("" for none) of each role that it holds or waits for.
        age: for how many seconds it has lived.
    """

    roles: Mapping[str, str]
    age: float


class HeldRole(NamedTuple):
    """A role whose lease still counts: its holder, its token, and the seconds until the lease ends."""

    holder: str
    token: int
    left: float


class TakenRole(NamedTuple):
    """A role that was taken by a heartbeat.

    Attributes:
        unclean: the holder before was another process, and its lease ran out.
    """

    role: str
    token: int
    unclean: bool


class Picture(NamedTuple):
    """All live processes and all held roles at one moment; void rows are left out."""

    processes: Mapping[str, LiveProcess]
    roles: Mapping[str, HeldRole]


class Beat(NamedTuple):
    """What one heartbeat found.

    Attributes:
        renewed: the token of each role that was renewed.
        picture: how everything stood before the roles in `taken` were taken.
        taken: the roles that were taken.
    """

    renewed: Mapping[str, int]
    picture: Picture
    taken: Sequence[TakenRole]


Choose: TypeAlias = Callable[[Picture], Sequence[str]]
"""The free roles that this process should take, given how everything stands."""


class LeaseStore(Protocol):
    """The storage of one process's leases. Each call is one round trip, except a heartbeat that takes something.

    A call may raise any exception: the keeper logs it and goes on.
    """

    @abstractmethod
    async def beat(self, wants: Mapping[str, str], held: Mapping[str, int], choose: Choose) -> Beat:
        """Say that this process lives and wants these roles, renew its leases, look, and take what `choose` returns.

        Looking and taking are one step with regard to other processes. Of the chosen roles those are taken that no
        other process holds; a valid lease of this process that is not in `held` is taken over from itself, and is
        clean. `choose` may be called several times and in any thread; only its last answer counts.

        Args:
            wants: the group of each role that this process holds or waits for.
            held: the token of each lease to renew. One that another process has taken over is left out of `renewed`.
            choose: called with pictures in which this process's own row may still be that of its last heartbeat.
        """

    @abstractmethod
    async def release(self, leases: Mapping[str, int], wants: Mapping[str, str]) -> None:
        """Free the roles that this process holds with these tokens, and say what it still wants."""

    @abstractmethod
    async def leave(self) -> None:
        """Free every role that this process holds, and forget the process."""


def is_valid(left: float, lease_time: float) -> bool:
    """True for a row that ends after `left` seconds and was written for `lease_time` seconds.

    A row that claims to last longer than its own lease time is void: the clock was set back, and its process could
    otherwise block a role until the clock has caught up.
    """
    return 0 < left <= lease_time
