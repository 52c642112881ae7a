"""The engine's log lines as JSON, one object a line, for the standard library's `logging`.

The engine logs through loggers below `workflow` and configures none of them. Give a handler this formatter to see which
run a line is about::

    handler = logging.StreamHandler()
    handler.setFormatter(JSONFormatter())
    logging.getLogger("workflow").addHandler(handler)
"""

import json
import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

FIELDS: Final = ("workflow", "run_id", "foreign_id", "status", "process_name")
"""What the engine says about a line, in `extra`, where it applies (`process` is the standard library's: a PID)."""


class JSONFormatter(logging.Formatter):
    """One JSON object a line: time (RFC 3339, UTC), level, logger, msg, the engine's fields, exception and stack.

    Lines are plain ASCII without line breaks, whatever was logged, so that no output encoding and no text in a
    message can break or forge one.
    """

    def __init__(self, fields: Sequence[str] = FIELDS) -> None:
        """Say which attributes of a log record are written when they are there and not empty.

        Args:
            fields: the engine's, and whatever you put into `extra` yourself.
        """
        super().__init__()
        self._fields = tuple(fields)

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC)
            .isoformat(timespec="microseconds")
            .replace("+00:00", "Z"),
            "level": record.levelname,
            "logger": record.name,
            "msg": record.getMessage(),
        }
        for name in self._fields:
            value = getattr(record, name, None)
            if value is not None and value != "":
                line[name] = value
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        elif record.exc_text:
            line["exception"] = record.exc_text
        if record.stack_info:
            line["stack"] = self.formatStack(record.stack_info)
        return json.dumps(line, default=str)
