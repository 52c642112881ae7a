"""Memos in a table."""

from workflow.protocols import Memos

from ..kit.text import check_text, is_text
from .database import Database

KEEP = """
insert into memos (workflow_name, key, text) values (?, ?, ?) on conflict do update set text = excluded.text
"""
REMOVE = "delete from memos where workflow_name = ? and key = ?"
MEMO = "select text from memos where workflow_name = ? and key = ?"


class SQLiteMemos(Memos):
    """The memos of a file."""

    def __init__(self, database: Database) -> None:
        self._memos_file = database

    async def memo(self, workflow_name: str, key: str) -> str:
        """The text kept last."""
        if not is_text(workflow_name) or not is_text(key):
            return ""
        row = await self._memos_file.read(lambda c: c.execute(MEMO, (workflow_name, key)).fetchone())
        return "" if row is None else row[0]

    async def keep_memo(self, workflow_name: str, key: str, text: str) -> None:
        """Keep this text."""
        for field, value in (("workflow_name", workflow_name), ("key", key), ("text", text)):
            check_text(field, value)
        statement, arguments = (KEEP, (workflow_name, key, text)) if text else (REMOVE, (workflow_name, key))
        await self._memos_file.write(lambda c: c.execute(statement, arguments).rowcount)
