"""The engine's log: a logging handler or filter that raises must not cost a run its slot or its result.

Owns also that one message is one line: the text of a user's exception may hold line breaks, which would pass for lines
of their own, and sequences that a terminal obeys.
"""

import logging
from collections.abc import Mapping
from contextlib import suppress

from .error_text import safe_str

_CONTROLS = [code for code in range(0xA0) if not chr(code).isprintable()] + [0x2028, 0x2029]
_ESCAPED = {code: repr(chr(code))[1:-1] for code in _CONTROLS}
"""Control characters and line separators, as Python writes them."""


def one_line(text: str) -> str:
    """The text with its control characters and line breaks escaped."""
    return text if text.isprintable() else text.translate(_ESCAPED)


class SafeLogger:
    """A logger whose calls never raise, and whose messages are one line each; a trace stays as it is.

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
            if not self.logger.isEnabledFor(level):
                return
            args = tuple(_tame(arg) for arg in args)
            self.logger.log(level, message, *args, exc_info=exc_info, extra=extra, stacklevel=3)


def _tame(arg: object) -> object:
    """An argument of a message that breaks no line; itself, if it does not."""
    if not isinstance(arg, str | BaseException):
        return arg
    text = arg if isinstance(arg, str) else safe_str(arg)
    line = one_line(text)
    return arg if line == text else line
