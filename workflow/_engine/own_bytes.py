"""Which stored objects this process encoded itself, lately: they hold no field that its release does not know.

Most steps follow one of the same process, so most objects need not be searched for unknown fields.
"""

MOST = 4096
"""Objects in each of the two generations."""


class OwnBytes:
    """Remembers bytes by their hash, for at least `MOST` additions."""

    def __init__(self) -> None:
        self._young: set[int] = set()
        self._old: set[int] = set()

    def add(self, data: bytes) -> None:
        """Remember these."""
        if len(self._young) >= MOST:
            self._young, self._old = set(), self._young
        self._young.add(hash(data))

    def __contains__(self, data: bytes) -> bool:
        found = hash(data)
        return found in self._young or found in self._old
