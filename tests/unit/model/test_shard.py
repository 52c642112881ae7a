"""Shards and partitions: the hash never changes, and every partition has exactly one owner."""

import pytest

from workflow._model.shard import WHOLE, Shard, partition_of


def test_the_partition_of_a_run_is_the_same_in_every_release() -> None:
    """A stored event lies in the partition that the release of its day computed."""
    assert [partition_of(key, 32) for key in ("run", "run-1", "ü", "")] == [0, 3, 21, 0]


@pytest.mark.parametrize("total", [1, 2, 3, 7, 32])
def test_every_partition_belongs_to_one_shard(total: int) -> None:
    shards = [Shard(index, total) for index in range(1, total + 1)]
    for partition in range(32):
        assert sum(shard.owns(partition) for shard in shards) == 1
    assert sorted(partition for shard in shards for partition in shard.partitions(32)) == list(range(32))
    for shard in shards:
        assert all(shard.owns(partition) for partition in shard.partitions(32))


def test_a_shard_reads_as_its_number_of_all() -> None:
    assert (str(WHOLE), str(Shard(2, 3))) == ("1-of-1", "2-of-3")
