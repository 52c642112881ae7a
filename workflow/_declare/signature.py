"""Whether a function can be called as its place in a workflow demands: found when it is declared, not at run time."""

import inspect
from collections.abc import Callable
from typing import Any


def signature_problem(fn: Any, *arguments: str) -> str | None:
    """Why `fn` cannot be a handler that is called with these positional arguments; None if it can.

    A function whose signature Python cannot tell (some builtins) is taken as it is.
    """
    if not callable(fn):
        return f"{fn!r} is not a function"
    if _generates(fn):
        return f"{_name(fn)} yields: a handler returns its answer"
    try:
        signature = inspect.signature(fn)
    except (ValueError, TypeError):
        return None
    try:
        signature.bind(*arguments)
    except TypeError as error:
        wanted = f"({', '.join(arguments)})" if arguments else "no arguments"
        return f"{_name(fn)}{signature} is called with {wanted}: {error}"
    return None


def _generates(fn: Callable[..., Any]) -> bool:
    return inspect.isgeneratorfunction(fn) or inspect.isasyncgenfunction(fn)


def _name(fn: Any) -> str:
    return getattr(fn, "__qualname__", None) or repr(fn)
