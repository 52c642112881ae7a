"""The text that is kept of an error. Nothing that an exception does with its own text hides that an attempt failed."""

import traceback


def error_text(error: BaseException) -> str:
    """Type and text of an error first, then the trace."""
    try:
        trace = "".join(traceback.format_exception(error))
    except BaseException:  # noqa: BLE001 - an exception's own notes, causes or __str__ may raise anything
        trace = "(its trace cannot be had)"
    return f"{type(error).__name__}: {safe_str(error)}\n\n{trace}"


def safe_str(error: BaseException) -> str:
    """The error's own text."""
    try:
        return str(error)
    except BaseException:  # noqa: BLE001 - a broken __str__ must not hide that the attempt failed
        return "(its text cannot be had)"
