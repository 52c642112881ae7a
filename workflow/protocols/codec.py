"""How objects become bytes."""

from abc import abstractmethod
from typing import Protocol, TypeVar

T = TypeVar("T")


class Codec(Protocol[T]):
    """Turns objects into bytes and back: JSON by default; replace it for encryption or another format."""

    @abstractmethod
    def encode(self, value: T) -> bytes:
        """The bytes to store. An exception fails the attempt (or the trigger), and nothing is stored."""

    @abstractmethod
    def decode(self, data: bytes) -> T:
        """The object again. An exception pauses the run that these bytes belong to."""
