"""The record store in memory."""

from workflow.protocols import RecordStore, WakeUp

from ..kit.wake_ups import LocalWakeUps
from .catalog import MemoryCatalog
from .dead_letters import MemoryDeadLetters
from .held_callbacks import MemoryHeldCallbacks
from .memos import MemoryMemos
from .outbox import MemoryOutbox
from .runs import MemoryRuns


class MemoryRecordStore(
    MemoryRuns,
    MemoryOutbox,
    MemoryDeadLetters,
    MemoryHeldCallbacks,
    MemoryCatalog,
    MemoryMemos,
    LocalWakeUps,
    RecordStore,
):
    """Runs, outboxes, dead letters, held callbacks, definitions and memos in dictionaries."""

    def __init__(self) -> None:
        MemoryOutbox.__init__(self)
        MemoryDeadLetters.__init__(self)
        MemoryHeldCallbacks.__init__(self)
        MemoryCatalog.__init__(self)
        MemoryMemos.__init__(self)
        LocalWakeUps.__init__(self, {WakeUp.OUTBOX, WakeUp.HELD_CALLBACKS})
        MemoryRuns.__init__(self, outbox=self, letters=self, held=self)

    def outbox_was_written(self, workflow_name: str) -> None:
        """Wake the relay of this workflow."""
        self.wake(WakeUp.OUTBOX, workflow_name)

    def callback_was_held(self, workflow_name: str) -> None:
        """Wake the consumers of this workflow's held callbacks."""
        self.wake(WakeUp.HELD_CALLBACKS, workflow_name)
