"""The four ports in memory."""

from workflow.protocols import Backend

from .events import MemoryEventStreamer
from .records import MemoryRecordStore
from .roles import MemoryRoleScheduler
from .timeouts import MemoryTimeoutStore


class MemoryBackend(Backend):
    """The four ports in memory."""

    def __init__(self) -> None:
        super().__init__(MemoryRecordStore(), MemoryEventStreamer(), MemoryRoleScheduler(), MemoryTimeoutStore())
