"""Short texts that a process leaves for the one that does its work next."""

from abc import abstractmethod
from typing import Protocol


class Memos(Protocol):
    """Memos by workflow and key. Proved by `workflow_adapters.conformance.memos`.

    For the little that must outlive a process and belongs to no run: up to which moment the slots of a schedule are
    settled, and which call may have killed its process.
    """

    @abstractmethod
    async def memo(self, workflow_name: str, key: str) -> str:
        """The text that was kept last under this key; empty if there is none."""

    @abstractmethod
    async def keep_memo(self, workflow_name: str, key: str, text: str) -> None:
        """Keep this text instead of the one before, durably; an empty text removes it.

        Raises:
            ValueError: the store cannot hold the key or the text; names the field and the value.
        """
