"""The base of all parts of the facade."""

from typing import Generic

from .._engine.engine import Engine
from .._model.record import Version
from .._model.run import ObjectT, Run, StatusT


class Facade(Generic[ObjectT, StatusT]):
    """Verbs on one engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @property
    def name(self) -> str:
        """The workflow's name."""
        return self._engine.name

    def _reading(self, version: Version) -> Run[ObjectT, StatusT]:
        return self._engine.reading(version)
