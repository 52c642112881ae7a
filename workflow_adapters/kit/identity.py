"""A process's description of itself."""

import os
import socket
import uuid
from datetime import UTC, datetime

from workflow.protocols import ProcessIdentity

__all__ = ["RELEASE_VARIABLE", "this_process"]

RELEASE_VARIABLE = "WORKFLOW_RELEASE"
"""Environment variable that names the release of the user's program."""


def this_process(release: str | None = None) -> ProcessIdentity:
    """Describe this process, with an id of its own for each call; an adapter calls it when it is entered.

    Args:
        release: of the user's program; None to take it from the environment variable WORKFLOW_RELEASE.
    """
    host, pid = socket.gethostname(), os.getpid()
    return ProcessIdentity(
        id=f"{host}:{pid}:{uuid.uuid4().hex[:8]}",
        host=host,
        pid=pid,
        release=os.environ.get(RELEASE_VARIABLE, "") if release is None else release,
        started_at=datetime.now(UTC),
    )
