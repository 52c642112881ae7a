"""One fault: what is wrong, and which cases of the conformance kit must notice, all of them and no others."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Fault:
    """One way to be wrong.

    Attributes:
        port: the attribute of the backend that is wrapped.
        wrap: wraps the right port into the wrong one.
        noticed_by: the cases that must fail: all of them, and no other about this port.
        backend: the name of a backend that is right, and can do what those cases need.
    """

    port: str
    wrap: Callable[[Any], Any]
    noticed_by: frozenset[str]
    backend: str = "memory"

    def __str__(self) -> str:
        return f"{self.backend}-{self.port}-{getattr(self.wrap, '__name__', self.wrap)}"


def fault(port: str, wrap: Callable[[Any], Any], *noticed_by: str, backend: str = "memory") -> Fault:
    return Fault(port, wrap, frozenset(noticed_by), backend)
