"""The memory of a consumer: which version of each run it has finished."""

from collections import OrderedDict

REMEMBERED = 50_000
"""Runs a consumer remembers; for one it forgot it asks the store."""


class FinishedVersions:
    """The last finished version of the runs that were handled most recently."""

    def __init__(self, most: int | None = None) -> None:
        self._versions: OrderedDict[str, int] = OrderedDict()
        self._most = REMEMBERED if most is None else most

    def includes(self, run_id: str, version: int) -> bool:
        """True if this version, or a later one, is known to be finished."""
        return self._versions.get(run_id, 0) >= version

    def last(self, run_id: str) -> int:
        """The last version that is known to be finished; 0 if none is."""
        return self._versions.get(run_id, 0)

    def clear(self) -> None:
        """Forget everything."""
        self._versions.clear()

    def add(self, run_id: str, version: int) -> None:
        """Remember that this version is finished."""
        versions = self._versions
        versions[run_id] = max(versions.get(run_id, 0), version)
        versions.move_to_end(run_id)
        if len(versions) > self._most:
            versions.popitem(last=False)
