"""The record store: everything that must be written in one transaction."""

from typing import Protocol

from .catalog import Catalog
from .dead_letters import DeadLetters
from .held_callbacks import HeldCallbacks
from .memos import Memos
from .outbox import Outbox
from .runs import Runs


class RecordStore(Runs, Outbox, DeadLetters, HeldCallbacks, Catalog, Memos, Protocol):
    """Runs with their outbox, dead letters, held callbacks, definitions and memos, in one store.

    They are one port because one transaction writes them together. It may also be `WakeUps` and `JoinsTransactions`.
    """
