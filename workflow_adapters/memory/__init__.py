"""All ports in one process: for tests, for trying things out, and as the reference the other adapters are held to.

Nothing survives the process. Several workflows, and several engines, may share one backend.
"""

from .backend import MemoryBackend
from .connector import MemoryConnector
from .events import MemoryEventStreamer
from .record_store import MemoryRecordStore
from .roles import MemoryLease, MemoryRoleScheduler
from .timeouts import MemoryTimeoutStore

__all__ = [
    "MemoryBackend",
    "MemoryConnector",
    "MemoryEventStreamer",
    "MemoryLease",
    "MemoryRecordStore",
    "MemoryRoleScheduler",
    "MemoryTimeoutStore",
]
