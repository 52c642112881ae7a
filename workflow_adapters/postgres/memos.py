"""Memos in a table."""

import asyncpg

from workflow.protocols import Memos

from ..kit.text import is_text
from .access import Access
from .checks import check_memo

__all__ = ["KEEP", "MEMO", "REMOVE", "KeptMemos"]

KEEP = """
insert into {schema}.memos (workflow_name, key, text) values ($1, $2, $3)
on conflict (workflow_name, key) do update set text = excluded.text
"""
REMOVE = "delete from {schema}.memos where workflow_name = $1 and key = $2"
MEMO = "select text from {schema}.memos where workflow_name = $1 and key = $2"


class KeptMemos(Memos):
    """The memos of the record store."""

    def __init__(self, access: Access) -> None:
        self._access = access

    async def memo(self, workflow_name: str, key: str) -> str:
        """The text kept last."""
        if not is_text(workflow_name) or not is_text(key):
            return ""
        rows = await self._access.read(MEMO, workflow_name, key)
        return rows[0][0] if rows else ""

    async def keep_memo(self, workflow_name: str, key: str, text: str) -> None:
        """Keep this text."""
        try:
            if text:
                await self._access.write(KEEP, workflow_name, key, text)
            else:
                await self._access.write(REMOVE, workflow_name, key)
        except (asyncpg.PostgresError, ValueError):
            check_memo(workflow_name, key, text)  # names the field
            raise
