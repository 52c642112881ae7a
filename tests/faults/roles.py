"""Role schedulers that are wrong in one way each."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from itertools import count
from typing import cast

from tests.faults import Wrapper
from tests.faults.fault import Fault, fault
from workflow.protocols import Lease

_numbers = count(1)


class HeldTwice(Wrapper):
    """Grants every request."""

    def hold(self, role: str, *, group: str = "") -> AbstractAsyncContextManager[Lease]:
        granted: AbstractAsyncContextManager[Lease] = self.real.hold(f"{role} {next(_numbers)}", group=group)
        return granted


class KeptByAFailedHolder(Wrapper):
    """Releases only when the holder ends well."""

    @asynccontextmanager
    async def hold(self, role: str, *, group: str = "") -> AsyncIterator[Lease]:
        holding = self.real.hold(role, group=group)
        lease: Lease = await holding.__aenter__()
        try:
            yield lease
        except ValueError:
            _kept.append(holding)
            raise
        except BaseException:
            await holding.__aexit__(None, None, None)
            raise
        await holding.__aexit__(None, None, None)


_kept: list[object] = []
"""Holdings that were never left; referenced, so that they are not collected."""


class GhostsOfCancelledWaiters(Wrapper):
    """A waiter that is cancelled goes on waiting, and keeps what it gets."""

    @asynccontextmanager
    async def hold(self, role: str, *, group: str = "") -> AsyncIterator[Lease]:
        holding = self.real.hold(role, group=group)
        acquiring = asyncio.ensure_future(holding.__aenter__())
        _kept.append(holding)
        lease: Lease = await asyncio.shield(acquiring)
        try:
            yield lease
        finally:
            await holding.__aexit__(None, None, None)


class GroupsByAnotherRule(Wrapper):
    """Keeps roles of a kind together, whatever their groups."""

    def hold(self, role: str, *, group: str = "") -> AbstractAsyncContextManager[Lease]:
        granted: AbstractAsyncContextManager[Lease] = self.real.hold(role, group=role.split()[0])
        return granted


class IgnoresOtherCounts(Wrapper):
    """Does not know that shards of two counts read the same partitions."""

    def hold(self, role: str, *, group: str = "") -> AbstractAsyncContextManager[Lease]:
        granted: AbstractAsyncContextManager[Lease] = self.real.hold(role)
        return granted


class EveryEndingIsAShard(Wrapper):
    """Takes any name that ends like a shard's for one."""

    def hold(self, role: str, *, group: str = "") -> AbstractAsyncContextManager[Lease]:
        ending = role.rpartition("-of-")[0].rpartition("-")[2] + "-of-" + role.rpartition("-of-")[2]
        granted: AbstractAsyncContextManager[Lease] = self.real.hold(role, group=f"group/{ending}")
        return granted


class _Changed(Wrapper):
    def __init__(self, real: Lease, **fields: object) -> None:
        super().__init__(real)
        self.__dict__.update(fields)


class TokenStandsStill(Wrapper):
    """Gives every holder the same token."""

    @asynccontextmanager
    async def hold(self, role: str, *, group: str = "") -> AsyncIterator[Lease]:
        async with self.real.hold(role, group=group) as lease:
            yield cast("Lease", _Changed(lease, token=1))


class AlwaysUnclean(Wrapper):
    """Takes every holder before for dead."""

    @asynccontextmanager
    async def hold(self, role: str, *, group: str = "") -> AsyncIterator[Lease]:
        async with self.real.hold(role, group=group) as lease:
            yield cast("Lease", _Changed(lease, unclean=True))


class AlwaysClean(Wrapper):
    """Takes a lease that ran out for one that was released."""

    @asynccontextmanager
    async def hold(self, role: str, *, group: str = "") -> AsyncIterator[Lease]:
        async with self.real.hold(role, group=group) as lease:
            yield cast("Lease", _Changed(lease, unclean=False))


class NeverGivesWay(Wrapper):
    """Does not tell a holder that another process should have the role."""

    @asynccontextmanager
    async def hold(self, role: str, *, group: str = "") -> AsyncIterator[Lease]:
        async with self.real.hold(role, group=group) as lease:
            yield cast("Lease", _Changed(lease, lost=asyncio.Event()))


FAULTS: tuple[Fault, ...] = (
    fault(
        "role_scheduler",
        IgnoresOtherCounts,
        "shards_of_different_counts_that_share_partitions_exclude_each_other",
    ),
    fault(
        "role_scheduler",
        EveryEndingIsAShard,
        "roles_that_only_look_like_shards_of_one_work_are_held_side_by_side",
    ),
    fault(
        "role_scheduler",
        HeldTwice,
        "shards_of_different_counts_that_share_partitions_exclude_each_other",
        "a_role_has_one_holder_at_a_time",
        "a_role_is_exclusive_within_one_process_too",
        "waiting_for_a_role_can_be_cancelled_and_leaves_no_trace",
        "the_token_rises_with_each_takeover",
        "a_holder_keeps_its_role_for_longer_than_the_lease",
        "a_process_that_holds_a_role_is_a_member_and_describes_itself",
        "a_member_wants_the_roles_it_holds_and_those_it_waits_for",
        "a_member_that_lives_is_renewed",
        "a_holding_names_the_role_its_holder_and_its_token",
        "a_role_that_was_released_names_its_last_holder",
    ),
    fault(
        "role_scheduler",
        KeptByAFailedHolder,
        "a_role_is_released_when_its_holder_fails",
    ),
    fault(
        "role_scheduler",
        GhostsOfCancelledWaiters,
        "waiting_for_a_role_can_be_cancelled_and_leaves_no_trace",
        "a_waiter_cancelled_as_the_role_is_handed_to_it_does_not_keep_it",
        "a_member_wants_the_roles_it_holds_and_those_it_waits_for",
    ),
    fault(
        "role_scheduler",
        TokenStandsStill,
        "the_token_rises_with_each_takeover",
        "a_role_that_was_released_names_its_last_holder",
    ),
    fault(
        "role_scheduler",
        AlwaysUnclean,
        "a_role_that_is_released_is_handed_over_at_once",
        "a_role_is_released_when_its_holder_fails",
        "a_role_never_held_before_is_clean_and_not_lost",
    ),
    fault(
        "role_scheduler",
        GroupsByAnotherRule,
        "groups_stay_whole_and_are_spread_over_the_processes",
        "a_process_that_joins_later_is_given_its_share",
        "what_a_leaving_process_held_goes_to_those_that_stay",
        "what_a_dead_process_held_goes_to_those_that_live",
        backend="sqlite",
    ),
    fault(
        "role_scheduler",
        AlwaysClean,
        "the_role_of_a_holder_that_died_is_taken_over_within_the_lease_time",
        "a_holder_that_is_cut_off_for_too_long_is_told_that_it_lost_the_role",
        backend="sqlite",
    ),
    fault(
        "role_scheduler",
        NeverGivesWay,
        "groups_stay_whole_and_are_spread_over_the_processes",
        "a_process_that_joins_later_is_given_its_share",
        "what_a_leaving_process_held_goes_to_those_that_stay",
        "what_a_dead_process_held_goes_to_those_that_live",
        "a_holder_that_is_cut_off_for_too_long_is_told_that_it_lost_the_role",
        backend="sqlite",
    ),
)
