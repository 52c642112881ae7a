"""Two releases that cut a work into different numbers of shards: they agree on one, and no partition is read twice."""

import asyncio
import math
from collections.abc import Mapping

import pytest

from tests.kit.fleet import LEASE, Fleet, simulate
from workflow._model import topology
from workflow._model.shard import Shard
from workflow_adapters.kit.shards import HeldShards, cut_of, outvoted

SEEDS = range(5)


def cut(total: int, work: str = "step") -> dict[str, str]:
    """The roles of a work, as a release with this count declares them."""
    return {f"{work}-{index}-of-{total}": f"orders/{index}-of-{total}" for index in range(1, total + 1)}


def read(fleet: Fleet, work: str = "step") -> dict[int, list[str]]:
    """The roles that read each of twelve partitions now."""
    cuts = [cut for role in fleet.held if (cut := cut_of(role, role.replace(f"{work}-", "orders/"))) is not None]
    return {
        partition: [f"{one.number}-of-{one.total}" for one in cuts if partition % one.total == one.number - 1]
        for partition in range(12)
    }


class Watched:
    """A fleet, looked at all the time: no partition may ever be read twice."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet

    def whole(self, total: int | None = None) -> bool:
        readers = read(self.fleet)
        assert all(len(roles) <= 1 for roles in readers.values()), f"read twice: {readers}"
        endings = {role.rpartition("-")[2] for roles in readers.values() for role in roles}
        return all(readers.values()) and (total is None or endings == {str(total)})

    async def settled(self, total: int | None = None, within: float = 4 * LEASE) -> float:
        return await self.fleet.until(lambda: self.whole(total), within=within)

    async def quiet(self, time: float = 10 * LEASE) -> None:
        grants = self.fleet.grants.total()
        for _ in range(int(time / 0.2)):
            assert self.whole()
            await asyncio.sleep(0.2)
        assert self.fleet.grants.total() == grants, "nothing moves any more"


@pytest.mark.parametrize("counts", [(2, 4), (4, 2), (1, 3), (3, 2), (6, 4)])
@pytest.mark.parametrize("seed", SEEDS)
def test_a_second_count_waits_and_takes_over_at_once(seed: int, counts: tuple[int, int]) -> None:
    first, second = counts

    async def story(fleet: Fleet) -> None:
        watched = Watched(fleet)
        await fleet.join("old", cut(first))
        await watched.settled(first, within=1)
        await fleet.join("new", cut(second))
        await watched.quiet()
        assert watched.whole(first), "nothing moves without need"
        await fleet.quit("old")
        assert await watched.settled(second, within=LEASE) < 1
        await watched.quiet()

    simulate(seed, story)


@pytest.mark.parametrize("counts", [(2, 4), (4, 2), (3, 2)])
@pytest.mark.parametrize("seed", SEEDS)
def test_a_deploy_moves_to_the_new_count_once_most_processes_want_it(seed: int, counts: tuple[int, int]) -> None:
    before, after = counts

    async def story(fleet: Fleet) -> None:
        watched = Watched(fleet)
        for name in ("old 1", "old 2", "old 3"):
            await fleet.join(name, cut(before))
        await watched.settled(before)
        for number in (1, 2, 3):
            await fleet.join(f"new {number}", cut(after))
            await watched.settled(within=LEASE)
            await fleet.quit(f"old {number}")
            await watched.settled(after if number > 1 else None)
        await watched.settled(after)
        await asyncio.sleep(6 * LEASE)  # until they are spread evenly
        await watched.quiet()

    simulate(seed, story)


@pytest.mark.parametrize("seed", SEEDS)
def test_two_counts_that_start_together_do_not_get_in_each_others_way(seed: int) -> None:
    async def story(fleet: Fleet) -> None:
        watched = Watched(fleet)
        await asyncio.gather(*(fleet.join(f"{total} {n}", cut(total)) for total in (2, 3, 4) for n in (1, 2)))
        await watched.settled(within=3 * LEASE)
        await asyncio.sleep(6 * LEASE)
        await watched.quiet()

    simulate(seed, story)


@pytest.mark.parametrize("seed", SEEDS)
def test_what_a_dead_process_held_is_taken_in_the_other_count(seed: int) -> None:
    async def story(fleet: Fleet) -> None:
        watched = Watched(fleet)
        await fleet.join("old", cut(2))
        await watched.settled(2)
        await fleet.join("new", cut(4))
        await asyncio.sleep(LEASE)
        fleet.processes["old"].reachable = False
        assert await fleet.until(lambda: watched.whole(4), within=1.5 * LEASE) < 1.2 * LEASE
        del fleet.processes["old"]

    simulate(seed, story)


@pytest.mark.parametrize("seed", SEEDS)
def test_works_and_roles_of_other_kinds_are_left_alone(seed: int) -> None:
    """One step is cut otherwise; another, and a role whose name only looks like a shard, go on."""
    same: Mapping[str, str] = {**cut(2, "other"), "report-1-of-2": "", "hook": ""}

    async def story(fleet: Fleet) -> None:
        await fleet.join("old", {**cut(2), **same})
        await fleet.until(lambda: len(fleet.held) == 6, within=1)
        await fleet.join("new", {**cut(4), **same, "report-1-of-4": ""})
        assert await fleet.until(lambda: fleet.held.get("report-1-of-4") == "new", within=LEASE) < 1
        await fleet.until(lambda: len({fleet.held.get(role) for role in cut(2, "other")}) == 2, within=6 * LEASE)
        assert {fleet.held.get(role) for role in cut(2)} == {"old"}

    simulate(seed, story)


@pytest.mark.parametrize("workflow_name", ["orders", "User Sign_up", "ends like -1-of-2"])
def test_the_engine_names_its_shards_so(workflow_name: str) -> None:
    shard = Shard(2, 3)
    group = topology.shard_group(workflow_name, shard)
    step, feed = (
        topology.step_role(workflow_name, 1, shard),
        topology.connector_role(workflow_name, "Order Feed", shard),
    )
    assert [(cut.number, cut.total) for role in (step, feed) if (cut := cut_of(role, group))] == [(2, 3), (2, 3)]


def test_only_a_role_whose_group_says_so_is_a_shard() -> None:
    assert cut_of("report-1-of-2", "") is None
    assert cut_of("report-1-of-2", "orders/2-of-2") is None
    assert cut_of("report-1-of-0", "orders/1-of-0") is None
    assert cut_of("report-1-of-2", "orders/1-of-2") == ("report", 1, 2)


@pytest.mark.parametrize(("one", "other"), [(2, 4), (2, 3), (4, 6), (1, 5), (3, 3)])
def test_shards_that_read_a_common_partition_exclude_each_other(one: int, other: int) -> None:
    for i in range(1, one + 1):
        for j in range(1, other + 1):
            common = any(p % one == i - 1 and p % other == j - 1 for p in range(math.lcm(one, other)))
            held = HeldShards([f"step-{j}-of-{other}"])
            assert bool(held.against(cut_of(f"step-{i}-of-{one}", f"g/{i}-of-{one}"))) == (common and one != other)


def test_most_processes_decide_then_what_is_held_then_the_larger_count() -> None:
    two, four = cut(2), cut(4)
    assert outvoted({"a": two, "b": two}, []) == set()
    assert outvoted({"a": two, "b": four}, []) == two.keys()
    assert outvoted({"a": two, "b": four}, ["step-1-of-2"]) == four.keys()
    assert outvoted({"a": two, "b": four, "c": four}, [*two]) == two.keys()
