"""Where in the caller's code a run was triggered."""

import asyncio
import os
import sys
from pathlib import Path

MAX_TRACE = 4096
"""Characters kept."""

_PACKAGE = Path(__file__).parents[1]
_NOT_THE_CALLERS = (f"{_PACKAGE}{os.sep}", f"{Path(asyncio.__file__).parent}{os.sep}")


def trace_origin(depth: int = 8) -> str:
    """The caller's stack, innermost first: file, line and function of frames outside this package."""
    lines: list[str] = []
    frame = sys._getframe(1)  # noqa: SLF001 - inspect.stack() reads source files: too slow for every trigger
    seen = frame
    while seen is not None and len(lines) < depth:
        code = seen.f_code
        if not code.co_filename.startswith(_NOT_THE_CALLERS):
            lines.append(f"{code.co_filename}:{seen.f_lineno} {code.co_name}")
        if seen.f_back is None:
            break
        seen = seen.f_back
    # A file name may be no valid Unicode, and no store would take it.
    return "\n".join(lines)[:MAX_TRACE].encode("utf-8", "backslashreplace").decode()
