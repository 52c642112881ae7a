"""Which partitions a shard owns, and which partition a run belongs to.

The hash is CRC-32 of the run ID, stable across processes and releases. The number of partitions belongs to the
stream, never to a process: a stored stream keeps the number it was made with.
"""

import zlib

import msgspec


class Shard(msgspec.Struct, frozen=True):
    """Shard `index` (from 1) of `total`: owns the partitions p with p mod total = index - 1."""

    index: int = 1
    total: int = 1

    def owns(self, partition: int) -> bool:
        """True if this shard reads that partition."""
        return partition % self.total == self.index - 1

    def partitions(self, count: int) -> tuple[int, ...]:
        """The partitions this shard owns, of `count`."""
        return tuple(range(self.index - 1, count, self.total))

    def __str__(self) -> str:
        return f"{self.index}-of-{self.total}"


WHOLE = Shard()
"""The only shard of work that is not sharded."""


def partition_of(key: str, count: int) -> int:
    """The partition, of `count`, that a run ID (or the id of a foreign event) belongs to."""
    return zlib.crc32(key.encode()) % count
