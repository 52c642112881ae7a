"""Role schedulers that answer wrongly who lives and who holds what."""

from collections.abc import Sequence
from typing import Any

import msgspec

from tests.faults import Wrapper
from tests.faults.fault import Fault, fault
from workflow.protocols import Holding, Member


class HeartbeatsStandStill(Wrapper):
    """Shows when a process joined for its last heartbeat."""

    def __init__(self, real: Any) -> None:
        super().__init__(real)
        self._first: dict[str, Member] = {}

    async def members(self) -> Sequence[Member]:
        return [
            msgspec.structs.replace(self._first.setdefault(member.identity.id, member), wanted=member.wanted)
            for member in await self.real.members()
        ]


class MembersWantForEver(Wrapper):
    """Does not forget the roles that a process wants no more."""

    def __init__(self, real: Any) -> None:
        super().__init__(real)
        self._wanted: dict[str, set[str]] = {}

    async def members(self) -> Sequence[Member]:
        members: list[Member] = []
        for member in await self.real.members():
            wanted = self._wanted.setdefault(member.identity.id, set())
            wanted.update(member.wanted)
            members.append(msgspec.structs.replace(member, wanted=tuple(sorted(wanted))))
        return members


class NamelessMembers(Wrapper):
    """Knows ids only."""

    async def members(self) -> Sequence[Member]:
        return [
            msgspec.structs.replace(member, identity=msgspec.structs.replace(member.identity, host="", pid=0))
            for member in await self.real.members()
        ]


class ForgetsReleasedRoles(Wrapper):
    """Lists the roles that are held now."""

    async def holdings(self) -> Sequence[Holding]:
        return [holding for holding in await self.real.holdings() if holding.expires_at is not None]


class HoldingsUnsorted(Wrapper):
    """Lists roles in an order of its own."""

    async def holdings(self) -> Sequence[Holding]:
        return list(await self.real.holdings())[::-1]


class TheDeadStay(Wrapper):
    """Shows every process that was ever a member."""

    def __init__(self, real: Any) -> None:
        super().__init__(real)
        self._members: dict[str, Member] = {}

    async def members(self) -> Sequence[Member]:
        self._members |= {member.identity.id: member for member in await self.real.members()}
        return [self._members[id_] for id_ in sorted(self._members)]


class OneIdForAll(Wrapper):
    """Shows every process under the id of one."""

    async def members(self) -> Sequence[Member]:
        return [
            msgspec.structs.replace(member, identity=msgspec.structs.replace(member.identity, id="process"))
            for member in await self.real.members()
        ]


class NamesTheFirstHolder(Wrapper):
    """Shows a role's first holder for as long as the process lives."""

    def __init__(self, real: Any) -> None:
        super().__init__(real)
        self._first: dict[str, str] = {}

    async def holdings(self) -> Sequence[Holding]:
        return [
            msgspec.structs.replace(holding, process=self._first.setdefault(holding.role, holding.process))
            for holding in await self.real.holdings()
        ]


FAULTS: tuple[Fault, ...] = (
    fault(
        "role_scheduler",
        HeartbeatsStandStill,
        "a_member_that_lives_is_renewed",
    ),
    fault(
        "role_scheduler",
        MembersWantForEver,
        "a_member_wants_the_roles_it_holds_and_those_it_waits_for",
    ),
    fault(
        "role_scheduler",
        NamelessMembers,
        "a_process_that_holds_a_role_is_a_member_and_describes_itself",
    ),
    fault(
        "role_scheduler",
        ForgetsReleasedRoles,
        "a_role_that_was_released_names_its_last_holder",
    ),
    fault(
        "role_scheduler",
        HoldingsUnsorted,
        "a_holding_names_the_role_its_holder_and_its_token",
    ),
    fault(
        "role_scheduler",
        TheDeadStay,
        "a_process_that_left_is_no_member",
        "a_process_that_died_is_no_member_once_its_lease_ran_out",
        backend="sqlite",
    ),
    fault(
        "role_scheduler",
        OneIdForAll,
        "each_process_is_a_member_of_its_own_known_to_all",
        "a_process_that_left_is_no_member",
        "a_process_that_died_is_no_member_once_its_lease_ran_out",
        backend="sqlite",
    ),
    fault(
        "role_scheduler",
        NamesTheFirstHolder,
        "a_holding_names_the_new_holder_after_a_takeover",
        backend="sqlite",
    ),
)
