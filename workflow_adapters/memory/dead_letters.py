"""Dead letters in a dictionary, oldest first."""

import itertools
from collections.abc import Sequence

from msgspec.structs import replace

from workflow.protocols import DeadLetter, DeadLetterQuery, DeadLetters, Page

from ..kit.cursor import decode_cursor, encode_cursor

_LISTING = "memory:dead letters"


class MemoryDeadLetters(DeadLetters):
    """Dead letters in a dictionary, by number."""

    def __init__(self) -> None:
        self._letters: dict[int, DeadLetter] = {}
        self._letter_numbers = itertools.count(1)

    async def add_dead_letters(self, letters: Sequence[DeadLetter]) -> None:
        """Keep dead letters."""
        for letter in letters:
            number = next(self._letter_numbers)
            self._letters[number] = replace(letter, id=str(number))

    async def list_dead_letters(self, query: DeadLetterQuery) -> Page[DeadLetter]:
        """One page, oldest first."""
        after = 0 if query.cursor is None else decode_cursor(_LISTING, query.cursor, [int])[0]
        found = [
            (number, letter)
            for number, letter in self._letters.items()
            if number > after and letter.workflow_name == query.workflow_name and query.run_id in (None, letter.run_id)
        ]
        shown = found[: query.limit]
        more = encode_cursor(_LISTING, shown[-1][0]) if len(found) > len(shown) else None
        return Page((letter for _, letter in shown), more)

    async def lookup_dead_letters(self, ids: Sequence[str]) -> Sequence[DeadLetter]:
        """The letters with these ids, oldest first."""
        wanted = set(ids)
        return [letter for letter in self._letters.values() if letter.id in wanted]

    async def remove_dead_letters(self, ids: Sequence[str]) -> None:
        """Remove letters."""
        for letter in await self.lookup_dead_letters(ids):
            del self._letters[int(letter.id)]

    def erase_dead_letters(self, run_id: str) -> None:
        """Erase the data and the reasons of this run's letters."""
        for number, letter in self._letters.items():
            if letter.run_id == run_id:
                self._letters[number] = replace(letter, data=b"", reason="")
