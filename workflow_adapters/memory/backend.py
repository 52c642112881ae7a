"""The four ports in memory."""

from workflow.protocols import Backend

from .events import MemoryEventStreamer
from .record_store import MemoryRecordStore
from .roles import MemoryRoleScheduler
from .timeouts import MemoryTimeoutStore


class MemoryBackend(Backend):
    """The four ports in memory; nothing survives the process.

    Every run is kept with its whole history for as long as the backend lives, finished ones too, as a database would
    keep them: for tests, examples and short programs. Events are kept only until all consumers have read them.

    Args:
        release: of the program that uses the backend; left out, the environment variable WORKFLOW_RELEASE.
    """

    def __init__(self, *, release: str | None = None) -> None:
        super().__init__(
            MemoryRecordStore(),
            MemoryEventStreamer(),
            MemoryRoleScheduler(release),
            MemoryTimeoutStore(),
            release=release,
        )
