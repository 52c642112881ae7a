"""One workflow belongs to one running event loop at a time."""

import asyncio
import os

from ..errors import WrongEventLoop


class LoopGuard:
    """Notices a change of the event loop, and refuses a second one while the first still runs.

    A plain handler runs in a thread; `asyncio.run(wf.trigger(...))` there is a second loop. It must not touch the
    futures of the first, so the call is refused before anything is written.
    """

    def __init__(self, workflow_name: str) -> None:
        self._workflow_name = workflow_name
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pid = 0

    def changed(self, loop: asyncio.AbstractEventLoop) -> bool:
        """True if this is another loop than before.

        Raises:
            WrongEventLoop: the one before still runs in this process.
        """
        if loop is self._loop:
            return False
        # After a fork the child finds its parent's loop marked as running; it never will.
        if self._loop is not None and self._loop.is_running() and self._pid == os.getpid():
            raise WrongEventLoop(self._workflow_name)
        self._loop, self._pid = loop, os.getpid()
        return True
