"""The record store of a file."""

from contextlib import AbstractAsyncContextManager

from workflow.protocols import RecordStore, Subscription, WakeUp, WakeUps

from .catalog import SQLiteCatalog
from .database import Database
from .dead_letters import SQLiteDeadLetters
from .held_callbacks import SQLiteHeldCallbacks
from .memos import SQLiteMemos
from .outbox import SQLiteOutbox
from .runs import SQLiteRuns
from .signals import local_wake_ups


class SQLiteRecordStore(
    SQLiteRuns, SQLiteOutbox, SQLiteDeadLetters, SQLiteHeldCallbacks, SQLiteCatalog, SQLiteMemos, WakeUps, RecordStore
):
    """Runs, outboxes, dead letters, held callbacks, definitions and memos in one file."""

    def __init__(self, database: Database) -> None:
        SQLiteRuns.__init__(self, database)
        SQLiteOutbox.__init__(self, database)
        SQLiteDeadLetters.__init__(self, database)
        SQLiteHeldCallbacks.__init__(self, database)
        SQLiteCatalog.__init__(self, database)
        SQLiteMemos.__init__(self, database)
        self._wake_ups = local_wake_ups(database.signals, WakeUp.OUTBOX, WakeUp.HELD_CALLBACKS)

    def subscribe(self, kind: WakeUp, workflow_name: str) -> AbstractAsyncContextManager[Subscription]:
        """Hear of what any process on this machine writes for this workflow."""
        return self._wake_ups.subscribe(kind, workflow_name)
