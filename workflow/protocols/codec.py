"""How objects become bytes."""

from abc import abstractmethod
from typing import Protocol, TypeVar, runtime_checkable

T = TypeVar("T")


class Codec(Protocol[T]):
    """Turns objects into bytes and back: JSON by default; replace it for encryption or another format."""

    @abstractmethod
    def encode(self, value: T) -> bytes:
        """The bytes to store. An exception fails the attempt (or the trigger), and nothing is stored."""

    @abstractmethod
    def decode(self, data: bytes) -> T:
        """The object again. An exception pauses the run that these bytes belong to."""


@runtime_checkable
class KeepsUnknownFields(Protocol):
    """What a codec may have besides, so that a step of an older release keeps the fields that a newer one added."""

    @abstractmethod
    def keep(self, stored: bytes, data: bytes) -> bytes:
        """`data`, with what `stored` holds and this release does not know.

        Called with the bytes that a handler's object was decoded from, and those of the object that it left. What is
        returned must decode to the same object as `data`. An exception fails the attempt.
        """
