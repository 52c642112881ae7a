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

    A name that is lower case without "_" is written as it is; any other name is followed by a checksum of the
    exact name, because two of them may read alike.
    """
    exact = workflow_name.lower() == workflow_name and "_" not in workflow_name
    owner = workflow_name if exact else f"{workflow_name}-{zlib.crc32(workflow_name.encode()):08x}"
    return joined(owner, *parts)


def shard_parts(shard: Shard) -> tuple[object, ...]:
    """How a shard ends a name: consumer, 1, of, 2."""
    return ("consumer", shard.index, "of", shard.total)


# -- which role and which consumer does what ------------------------------------------------------------------
# A consumer keeps durable cursors under its name. Readers and the sweeper must name it alike, so both ask here.


def step_role(workflow_name: str, status: int, shard: Shard) -> str:
    """The role of one shard of a step."""
    return role(workflow_name, status, *shard_parts(shard))


def step_consumer(workflow_name: str, status: int) -> str:
    """The consumer of a step, whatever the number of its shards."""
    return role(workflow_name, status, "consumer")


def timer_consumer(workflow_name: str, status: int) -> str:
    """The consumer that arms the timers of a status; also its role."""
    return role(workflow_name, status, "timeout-auto-inserter-consumer")


def timer_role(workflow_name: str, status: int) -> str:
    """The role that fires the timers of a status."""
    return role(workflow_name, status, "timeout-consumer")


def hook_consumer(workflow_name: str, run_state: object) -> str:
    """The consumer that calls the hook of a run state; also its role."""
    return role(workflow_name, run_state, "run-state-change-hook", "consumer")


def delete_consumer(workflow_name: str) -> str:
    """The consumer that erases data; also its role."""
    return role(workflow_name, "delete", "consumer")


def connector_role(workflow_name: str, connector: str, shard: Shard) -> str:
    """The role of one shard of a connector."""
    return joined(connector, "connector", "to", role(workflow_name, *shard_parts(shard)))


def connector_consumer(workflow_name: str, connector: str) -> str:
    """The consumer of a connector, whatever the number of its shards."""
    return joined(connector, "connector", "to", role(workflow_name, "consumer"))


def shard_group(workflow_name: str, shard: Shard) -> str:
    """Roles of one workflow and one shard belong together, so that a run stays with its process."""
    return f"{role(workflow_name)}/{shard}"
