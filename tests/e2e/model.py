"""What the end-to-end tests share: four statuses and a small object."""

from datetime import timedelta
from enum import IntEnum

import msgspec

PATIENCE = timedelta(seconds=20)


class Status(IntEnum):
    A = 1
    B = 2
    C = 3
    D = 4


class Thing(msgspec.Struct):
    count: int = 0
    text: str = ""
