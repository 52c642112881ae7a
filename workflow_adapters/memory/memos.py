"""Memos in a dictionary."""

from workflow.protocols import Memos


class MemoryMemos(Memos):
    """Memos by workflow and key."""

    def __init__(self) -> None:
        self._memos: dict[tuple[str, str], str] = {}

    async def memo(self, workflow_name: str, key: str) -> str:
        """The text kept last."""
        return self._memos.get((workflow_name, key), "")

    async def keep_memo(self, workflow_name: str, key: str, text: str) -> None:
        """Keep this text."""
        if text:
            self._memos[workflow_name, key] = text
        else:
            self._memos.pop((workflow_name, key), None)
