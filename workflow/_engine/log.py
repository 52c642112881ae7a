"""The engine's log: a logging handler or filter that raises must not cost a run its slot or its result."""

import logging
from collections.abc import Mapping
from contextlib import suppress


class SafeLogger:
    """A logger whose calls never raise.

    `logging` itself reports errors of well-behaved handlers to stderr; a filter, or a handler with its own `emit`, can
    still raise into the code that logs.
    """

    def __init__(self, logger: logging.Logger) -> None:
        self.logger = logger

    def debug(self, message: str, *args: object, extra: Mapping[str, object] | None = None) -> None:
        """Log for developers."""
        self._log(logging.DEBUG, message, args, None, extra)

    def info(self, message: str, *args: object, extra: Mapping[str, object] | None = None) -> None:
        """Log an event of normal work."""
        self._log(logging.INFO, message, args, None, extra)

    def warning(
        self,
        message: str,
        *args: object,
        exc_info: BaseException | None = None,
        extra: Mapping[str, object] | None = None,
    ) -> None:
        """Log trouble that the engine deals with."""
        self._log(logging.WARNING, message, args, exc_info, extra)

    def error(
        self,
        message: str,
        *args: object,
        exc_info: BaseException | None = None,
        extra: Mapping[str, object] | None = None,
    ) -> None:
        """Log trouble that a person should look at."""
        self._log(logging.ERROR, message, args, exc_info, extra)

    def _log(
        self,
        level: int,
        message: str,
        args: tuple[object, ...],
        exc_info: BaseException | None,
        extra: Mapping[str, object] | None,
    ) -> None:
        with suppress(Exception):  # there is no log to report it to
            self.logger.log(level, message, *args, exc_info=exc_info, extra=extra, stacklevel=3)
