"""Which workflows a backend knows."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Protocol

from .._model.workflow_info import PublishedWorkflow, WorkflowInfo


class Catalog(Protocol):
    """The published definitions. Proved by `workflow_adapters.conformance.catalog`."""

    @abstractmethod
    async def publish(self, info: WorkflowInfo) -> None:
        """Keep this definition under its name and fingerprint, and note the store's time.

        Two releases of one workflow stand side by side as long as both publish. A definition that was not published
        for a day may be forgotten, unless it is the newest of its name.
        """

    @abstractmethod
    async def workflows(self) -> Sequence[PublishedWorkflow]:
        """Every definition that is kept, by name, the one published last first."""
