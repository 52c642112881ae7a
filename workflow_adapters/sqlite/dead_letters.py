"""Dead letters in a table."""

import sqlite3
from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec.structs import replace

from workflow.protocols import DeadLetter, DeadLetterQuery, DeadLetters, Page

from ..kit.cursor import decode_cursor, encode_cursor
from ..kit.text import INT8, check_text
from .database import Database
from .rows import encode

_decode = msgspec.msgpack.Decoder(DeadLetter).decode
_CURSOR = "sqlite:dead letters"


class SQLiteDeadLetters(DeadLetters):
    """The dead letters of a file."""

    def __init__(self, database: Database) -> None:
        self._letters_file = database

    async def add_dead_letters(self, letters: Sequence[DeadLetter]) -> None:
        """Keep dead letters."""
        for letter in letters:
            for field in ("workflow_name", "source", "run_id", "reason"):
                check_text(field, getattr(letter, field))
        await self._letters_file.write(lambda c: insert_letters(c, letters))

    async def list_dead_letters(self, query: DeadLetterQuery) -> Page[DeadLetter]:
        """One page, oldest first."""
        after = 0 if query.cursor is None else decode_cursor(_CURSOR, query.cursor, [int])[0]
        rows = await self._letters_file.read(lambda c: _rows(c, query, after))
        shown = rows[: query.limit]
        more = encode_cursor(_CURSOR, shown[-1][0]) if len(rows) > len(shown) else None
        return Page((_letter(row) for row in shown), more)

    async def lookup_dead_letters(self, ids: Sequence[str]) -> Sequence[DeadLetter]:
        """The letters with these ids, oldest first."""
        numbers = sorted(set(_numbers(ids)))

        def work(connection: sqlite3.Connection) -> list[tuple[int, bytes]]:
            select = "select id, data from dead_letters where id = ?"
            found = [connection.execute(select, (number,)).fetchone() for number in numbers]
            return [row for row in found if row is not None]

        return [_letter(row) for row in await self._letters_file.read(work)]

    async def remove_dead_letters(self, ids: Sequence[str]) -> None:
        """Remove letters."""
        rows = [(number,) for number in _numbers(ids)]
        await self._letters_file.write(lambda c: c.executemany("delete from dead_letters where id = ?", rows).rowcount)


def _numbers(ids: Sequence[str]) -> list[int]:
    """The numbers that these ids stand for; an id of another store stands for none."""
    return [int(id_) for id_ in ids if id_.isascii() and id_.isdecimal() and int(id_) in INT8]


def insert_letters(connection: sqlite3.Connection, letters: Sequence[DeadLetter]) -> None:
    """Keep these letters, within the transaction of the caller."""
    rows = [(letter.workflow_name, letter.run_id, encode(letter)) for letter in letters]
    connection.executemany("insert into dead_letters (workflow_name, run_id, data) values (?, ?, ?)", rows)


def _rows(connection: sqlite3.Connection, query: DeadLetterQuery, after: int) -> list[tuple[int, bytes]]:
    of_run = "" if query.run_id is None else " and run_id = ?"
    arguments: list[Any] = [query.workflow_name, *(() if query.run_id is None else (query.run_id,))]
    statement = f"select id, data from dead_letters where workflow_name = ?{of_run} and id > ? order by id limit ?"  # noqa: S608
    return connection.execute(statement, (*arguments, after, query.limit + 1)).fetchall()


def _letter(row: tuple[int, bytes]) -> DeadLetter:
    number, data = row
    return replace(_decode(data), id=str(number))
