"""The names of topics, roles and processes.

Roles are stable: they name locks and durable cursors, so they hold the number of a status. Process names are for
people: they hold its text and are the keys of `Workflow.states()` and a label of the metrics.
"""

import zlib

from .shard import Shard


def topic(workflow_name: str, status: int) -> str:
    """Where the events of runs that entered `status` are published."""
    return f"{workflow_name.replace(' ', '_')}-{status}"


def delete_topic(workflow_name: str) -> str:
    """Where requests to erase a run's data are published."""
    return f"{workflow_name.replace(' ', '_')}-delete"


def run_state_change_topic(workflow_name: str) -> str:
    """Where pauses, cancellations, completions and erasures are published."""
    return f"{workflow_name.replace(' ', '_')}-run-state-change"


def joined(*parts: object) -> str:
    """The parts as one role or process name: joined by "-", lower case, "_" for every space."""
    return "-".join(str(part) for part in parts).lower().replace(" ", "_")


def role(workflow_name: str, *parts: object) -> str:
    """A role of one workflow; workflows whose names read alike have different ones.

    A name that is lower case without "_" is written as it is; any other could be read as one of those, so a checksum
    of the exact name follows it.
    """
    exact = workflow_name.lower() == workflow_name and "_" not in workflow_name
    owner = workflow_name if exact else f"{workflow_name}-{zlib.crc32(workflow_name.encode()):08x}"
    return joined(owner, *parts)


def shard_parts(shard: Shard) -> tuple[object, ...]:
    """How a shard ends a name: consumer, 1, of, 2."""
    return ("consumer", shard.index, "of", shard.total)


def consumer(role: str, shard: Shard) -> str:
    """The name under which a sharded role keeps its cursors: the role without its shard.

    A cursor belongs to a partition, and partitions change hands when the number of shards changes.
    """
    return role.removesuffix(f"-{shard.index}-of-{shard.total}")
