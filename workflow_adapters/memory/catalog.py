"""Published definitions in a dictionary."""

from collections.abc import Sequence
from datetime import UTC, datetime

from msgspec.structs import replace

from workflow.protocols import Catalog, PublishedWorkflow, WorkflowInfo


class MemoryCatalog(Catalog):
    """Published definitions by name and fingerprint; all are kept for as long as the store lives."""

    def __init__(self) -> None:
        self._published: dict[tuple[str, str], PublishedWorkflow] = {}

    async def publish(self, info: WorkflowInfo) -> None:
        """Keep the definition, and note the time."""
        now = datetime.now(UTC)
        key = (info.name, info.fingerprint)
        known = self._published.get(key)
        if known is None:
            self._published[key] = PublishedWorkflow(info=info, first_at=now, last_at=now)
        else:
            self._published[key] = replace(known, info=info, last_at=now)

    async def workflows(self) -> Sequence[PublishedWorkflow]:
        """Every definition, by name, the one published last first."""
        latest_first = sorted(self._published.values(), key=lambda one: one.last_at, reverse=True)
        return sorted(latest_first, key=lambda one: one.info.name)
