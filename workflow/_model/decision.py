"""The answers that a handler may return instead of a status.

A decision is a value: it does nothing until the handler returns it and the engine commits it.
"""

from enum import Enum
from typing import final

import msgspec


class Kind(Enum):
    """The kinds of decision."""

    SKIP = "skip"
    PAUSE = "pause"
    CANCEL = "cancel"
    SAVE_AND_REPEAT = "save and repeat"


# Final so that a checker narrows `Status | Decision`.
@final
class Decision(msgspec.Struct, frozen=True):
    """Made by `Run.skip`, `Run.pause`, `Run.cancel` and `Run.save_and_repeat`.

    Attributes:
        kind: what to do with the run.
        reason: why, for people; kept on the record by a pause and a cancellation.
    """

    kind: Kind
    reason: str = ""
