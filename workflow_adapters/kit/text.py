"""Text that goes into stores and logs: checks that name the field and the value that a store cannot hold.

A statement for a whole batch says only that something in it is wrong. A store calls these for the values of a change
before it writes, or after the database has refused them, whichever is cheaper.
"""

__all__ = ["INT4", "INT8", "check_number", "check_text", "described", "is_text", "one_line"]

INT4 = range(-(2**31), 2**31)
"""Numbers of a column of 32 bits."""
INT8 = range(-(2**63), 2**63)
"""Numbers of a column of 64 bits."""

_SHOWN = 80
"""Characters of a value that a message shows."""

_CONTROLS = [code for code in range(0xA0) if not chr(code).isprintable()] + [0x2028, 0x2029]
_ESCAPED = {code: repr(chr(code))[1:-1] for code in _CONTROLS}


def one_line(text: str) -> str:
    """The text with its control characters and line breaks escaped: a log line of an adapter stays one line."""
    return text if text.isprintable() else text.translate(_ESCAPED)


def described(error: BaseException) -> str:
    """Type and text of an error as one line for a log or a message."""
    return one_line(f"{type(error).__name__}: {error}".rstrip(": "))


def check_text(field: str, value: str, longest: int | None = None) -> None:
    """Refuse text that a database cannot hold.

    Raises:
        ValueError: it has a NUL, a lone surrogate, or more than `longest` bytes; names the field and the value.
    """
    if "\0" in value:
        raise ValueError(f"{field} must not contain NUL: {_shown(value)}")
    if value.isascii():
        size = len(value)
    else:
        try:
            size = len(value.encode())
        except UnicodeEncodeError as error:
            raise ValueError(f"{field} is not valid Unicode, it has a lone surrogate: {_shown(value)}") from error
    if longest is not None and size > longest:
        raise ValueError(f"{field} has {size:,} bytes, at most {longest:,} can be stored: {_shown(value)}")


def is_text(value: str) -> bool:
    """False for text that no row can hold, so that a question for it has no answer and spoils no other's."""
    try:
        check_text("", value)
    except ValueError:
        return False
    return True


def check_number(field: str, value: int, allowed: range = INT8) -> None:
    """Refuse a number that its column cannot hold.

    Raises:
        ValueError: it is out of range; names the field and the value.
    """
    if value not in allowed:
        raise ValueError(f"{field} must be between {allowed.start} and {allowed.stop - 1}: {value}")


def _shown(value: str) -> str:
    return repr(value) if len(value) <= _SHOWN else f"{value[:_SHOWN]!r}…"
