"""The definitions of the workflows that processes run."""

from collections.abc import Sequence

import asyncpg
import msgspec

from workflow.protocols import PublishedWorkflow, WorkflowInfo

from .access import Access
from .checks import check_workflow

__all__ = ["PUBLISH", "WORKFLOWS", "PublishedDefinitions"]

# Another definition of this name that was not published for a day is forgotten: the release that had it is gone.
PUBLISH = """
with gone as (
    delete from {schema}.catalog
    where workflow_name = $1 and fingerprint <> $2 and last_at < clock_timestamp() - interval '1 day'
)
insert into {schema}.catalog (workflow_name, fingerprint, info) values ($1, $2, $3)
on conflict (workflow_name, fingerprint) do update set info = excluded.info, last_at = clock_timestamp()
"""

WORKFLOWS = """
select info, first_at, last_at from {schema}.catalog order by workflow_name collate "C", last_at desc, fingerprint
"""

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(WorkflowInfo).decode


class PublishedDefinitions:
    """The catalog of the record store."""

    def __init__(self, access: Access) -> None:
        self._access = access

    async def publish(self, info: WorkflowInfo) -> None:
        """Keep this definition under its name and fingerprint.

        Raises:
            ValueError: Postgres cannot hold one of the fields.
        """
        try:
            await self._access.write(PUBLISH, info.name, info.fingerprint, _encode(info))
        except (asyncpg.PostgresError, ValueError):
            check_workflow(info)  # names the field
            raise

    async def workflows(self) -> Sequence[PublishedWorkflow]:
        """Every definition that is kept, by name, the one published last first."""
        return [
            PublishedWorkflow(info=_decode(info), first_at=first_at, last_at=last_at)
            for info, first_at, last_at in await self._access.read(WORKFLOWS)
        ]
