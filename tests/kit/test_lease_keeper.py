"""The heartbeat loop: processes that come, go, freeze and disagree."""

import asyncio
import json
import logging

import pytest

from tests.kit.fleet import LEASE, Fleet, simulate
from workflow.errors import BackendNotOpen

BEAT = LEASE / 3
SEEDS = range(5)
PARTS = ("step", "hook", "timeouts")
SHARDS = [f"orders/{index}-of-6" for index in range(1, 7)]
ROLES = {f"{part} {shard}": shard for shard in SHARDS for part in PARTS}
STEPS = [f"step {shard}" for shard in SHARDS]


def whole(fleet: Fleet) -> bool:
    """Every role is held, and no unit is split."""
    return all(len({fleet.held.get(f"{part} {shard}") for part in PARTS} - {None}) == 1 for shard in SHARDS) and len(
        fleet.held
    ) == len(ROLES)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_process_alone_is_given_every_role_at_once(seed: int) -> None:
    async def story(fleet: Fleet) -> None:
        await fleet.join("a", ROLES)
        assert await fleet.until(lambda: whole(fleet), within=1) < 0.2

    simulate(seed, story)


@pytest.mark.parametrize("seed", SEEDS)
def test_processes_that_start_together_share_at_once(seed: int) -> None:
    async def story(fleet: Fleet) -> None:
        await asyncio.gather(*(fleet.join(name, ROLES) for name in "abc"))
        await fleet.until(lambda: whole(fleet), within=LEASE)
        await fleet.until(lambda: whole(fleet) and fleet.counts(*STEPS) == [2, 2, 2], within=6 * LEASE)

    simulate(seed, story)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_process_that_joins_is_given_one_unit_at_a_time_once_it_is_established(seed: int) -> None:
    async def story(fleet: Fleet) -> None:
        await fleet.join("a", ROLES)
        await fleet.until(lambda: whole(fleet), within=1)
        await fleet.join("b", ROLES)

        def all_but_one_unit() -> bool:
            assert len(fleet.held) >= len(ROLES) - len(PARTS), "two units are handed over at once"
            return whole(fleet) and fleet.counts(*STEPS) == [3, 3]

        took = await fleet.until(all_but_one_unit, within=6 * LEASE)
        assert took > 1.5 * BEAT, "it must have lived for two heartbeats"
        assert fleet.unclean == 0
        grants = fleet.grants.total()
        await asyncio.sleep(10 * LEASE)
        assert (fleet.grants.total(), whole(fleet)) == (grants, True), "nothing moves any more"

    simulate(seed, story)


@pytest.mark.parametrize("seed", SEEDS)
def test_what_a_process_held_that_stops_is_taken_at_once(seed: int) -> None:
    async def story(fleet: Fleet) -> None:
        for name in "abc":
            await fleet.join(name, ROLES)
        await fleet.until(lambda: whole(fleet) and fleet.counts(*STEPS) == [2, 2, 2], within=12 * LEASE)
        await fleet.quit("b")
        assert await fleet.until(lambda: whole(fleet), within=LEASE) < 1
        assert fleet.counts(*STEPS) == [3, 3]
        assert fleet.unclean == 0

    simulate(seed, story)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_new_role_of_a_group_is_held_by_the_release_that_declares_it_and_nothing_flaps(seed: int) -> None:
    """Deploy with parallel_count 1: the old release does not know the role."""
    old, new = {"step": "orders/1-of-1"}, {"step": "orders/1-of-1", "hook": "orders/1-of-1"}

    async def story(fleet: Fleet) -> None:
        await fleet.join("old", old)
        await fleet.until(lambda: len(fleet.held) == 1, within=1)
        await fleet.join("new", new)
        assert await fleet.until(lambda: fleet.held.get("hook") == "new", within=LEASE) < 1
        await asyncio.sleep(10 * LEASE)
        assert fleet.grants == {"step": 1, "hook": 1}
        await fleet.quit("old")
        assert await fleet.until(lambda: fleet.held == {"step": "new", "hook": "new"}, within=LEASE) < 1

    simulate(seed, story)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_process_that_loses_the_store_gives_up_before_another_takes_over(seed: int) -> None:
    """`Fleet` fails the test if a role has two holders at once."""

    async def story(fleet: Fleet) -> None:
        lost = await fleet.join("a", ROLES)
        await fleet.until(lambda: whole(fleet), within=1)
        await fleet.join("b", ROLES)
        await asyncio.sleep(1)
        lost.reachable = False
        took = await fleet.until(lambda: set(fleet.held.values()) == {"b"} and whole(fleet), within=2 * LEASE)
        assert took > LEASE / 2, "not before the leases ended"
        assert fleet.unclean == len(ROLES)
        lost.reachable = True
        await fleet.until(lambda: whole(fleet) and fleet.counts(*STEPS) == [3, 3], within=12 * LEASE)

    simulate(seed, story)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_short_interruption_costs_nothing(seed: int) -> None:
    async def story(fleet: Fleet) -> None:
        process = await fleet.join("a", ROLES)
        await fleet.until(lambda: whole(fleet), within=1)
        for _ in range(10):
            process.reachable = False
            await asyncio.sleep(BEAT)
            process.reachable = True
            await asyncio.sleep(BEAT)
        assert fleet.grants.total() == len(ROLES)

    simulate(seed, story)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_role_that_its_proper_process_lets_lie_is_taken_by_another_and_kept(seed: int) -> None:
    """Liveness first: a process may live, want a role and never take it."""

    async def story(fleet: Fleet) -> None:
        async def stuck() -> None:
            while True:
                now = fleet.clock() // 1000
                fleet.connection.execute(
                    "insert or replace into members (member, joined, expires, lease, groups, roles, identity)"
                    " values ('stuck', 0, ?, ?, '[]', ?, '{\"id\": \"stuck\"}')",
                    (now + int(LEASE * 1e6), int(LEASE * 1e6), json.dumps(ROLES)),
                )
                await asyncio.sleep(1)

        beside = asyncio.ensure_future(stuck())
        await asyncio.sleep(0)
        await fleet.join("a", ROLES)
        await fleet.until(lambda: fleet.counts(*STEPS) == [3], within=1)
        took = await fleet.until(lambda: whole(fleet), within=LEASE)
        assert LEASE / 2 - 1 < took < LEASE / 2 + 1
        grants = fleet.grants.total()
        await asyncio.sleep(2 * LEASE)
        assert fleet.grants.total() == grants, "it is not offered again at once"
        await asyncio.sleep(50 * LEASE)
        assert fleet.grants.total() < grants + 60, "now and then it is offered one unit"
        beside.cancel()

    simulate(seed, story)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_clock_that_is_set_back_freezes_no_role(seed: int) -> None:
    async def story(fleet: Fleet) -> None:
        process = await fleet.join("a", {"role": ""})
        await fleet.until(lambda: len(fleet.held) == 1, within=1)
        process.reachable = False
        fleet.skew = -5000
        await fleet.join("b", {"role": ""})
        await fleet.until(lambda: fleet.held == {"role": "b"}, within=2 * LEASE)

    with pytest.raises(AssertionError, match="at once"):
        # The lease is void at once, while its holder still trusts its own clock: safety does not depend on leases.
        simulate(seed, story)


def test_a_waiter_is_told_when_the_backend_is_left(caplog: pytest.LogCaptureFixture) -> None:
    async def story(fleet: Fleet) -> None:
        first, second = await fleet.join("a", {"role": ""}), await fleet.join("b", {})
        await fleet.until(lambda: len(fleet.held) == 1, within=1)
        waiting = asyncio.ensure_future(second.keeper.hold("role", "").__aenter__())
        await asyncio.sleep(1)
        second.reachable = False
        await fleet.quit("b")
        with pytest.raises(BackendNotOpen, match="was left"):
            await waiting
        with pytest.raises(BackendNotOpen, match="not open"):
            await second.keeper.hold("role", "").__aenter__()
        assert first.reachable

    with caplog.at_level(logging.WARNING):
        simulate(1, story)
    assert "roles are not released, they run out instead: Unavailable: the test cut the connection" in caplog.text


def test_within_a_process_a_role_has_one_holder_at_a_time() -> None:
    async def story(fleet: Fleet) -> None:
        keeper = (await fleet.join("a", {})).keeper
        inside = most = turns = 0

        async def work() -> None:
            nonlocal inside, most, turns
            async with keeper.hold("role", ""):
                inside, turns = inside + 1, turns + 1
                most = max(most, inside)
                await asyncio.sleep(0.1)
                inside -= 1

        await asyncio.gather(*(work() for _ in range(10)))
        assert (most, turns) == (1, 10)

    simulate(1, story)


def test_a_role_whose_lease_ran_out_is_not_given_to_a_second_task_while_the_first_works_on() -> None:
    """The first knows that it lost the role, and may still be finishing its work."""

    async def story(fleet: Fleet) -> None:
        process = await fleet.join("a", {})
        keeper = process.keeper

        async def second() -> float:
            async with keeper.hold("role", "") as lease:
                assert not lease.lost.is_set()
                return fleet.loop.time()

        async with keeper.hold("role", "") as lease:
            waiting = asyncio.ensure_future(second())
            process.reachable = False
            await asyncio.wait_for(lease.lost.wait(), LEASE)
            process.reachable = True
            await asyncio.sleep(2 * LEASE)
            left = fleet.loop.time()
        assert await waiting >= left

    simulate(1, story)
