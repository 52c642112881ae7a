"""Log lines as JSON."""

import io
import json
import logging
from collections.abc import Iterator
from datetime import UTC, datetime
from enum import IntEnum

import pytest

from workflow_adapters.logging import JSONFormatter


class Status(IntEnum):
    PAID = 2


@pytest.fixture
def output() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def logger(output: io.StringIO) -> Iterator[logging.Logger]:
    # Apart from all others: what it logs must not end up in a report, where a lone surrogate cannot be written.
    made = logging.Logger("workflow.tests.json")
    handler = logging.StreamHandler(output)
    handler.setFormatter(JSONFormatter())
    made.addHandler(handler)
    made.setLevel(logging.DEBUG)
    yield made
    made.removeHandler(handler)


def lines(output: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in output.getvalue().splitlines()]


def test_a_line_says_when_how_grave_who_and_what(logger: logging.Logger, output: io.StringIO) -> None:
    """R-LOG-3."""
    logger.debug("skipping %s", "update")
    (line,) = lines(output)
    moment = datetime.fromisoformat(str(line.pop("time")))
    assert moment.tzinfo == UTC
    assert line == {"level": "DEBUG", "logger": "workflow.tests.json", "msg": "skipping update"}
    assert '"level": "DEBUG"' in output.getvalue()


def test_time_is_rfc_3339_in_utc() -> None:
    record = logging.LogRecord("x", logging.INFO, "f", 1, "m", None, None)
    record.created = 0.0
    assert json.loads(JSONFormatter().format(record))["time"] == "1970-01-01T00:00:00.000000Z"


def test_the_engines_fields_are_written_where_they_apply(logger: logging.Logger, output: io.StringIO) -> None:
    extra = {"workflow": "orders", "run_id": "r1", "foreign_id": "c-7", "status": "Paid", "process_name": ""}
    logger.info("moved", extra=extra | {"secret": "not asked for"})
    (line,) = lines(output)
    assert set(line) == {"time", "level", "logger", "msg", "workflow", "run_id", "foreign_id", "status"}
    assert line["run_id"] == "r1"


def test_other_fields_can_be_asked_for(output: io.StringIO) -> None:
    record = logging.LogRecord("x", logging.INFO, "f", 1, "m", None, None)
    record.handler, record.status = object, Status.PAID
    line = json.loads(JSONFormatter(("handler", "status")).format(record))
    assert line["handler"] == "<class 'object'>"
    assert line["status"] == 2


def test_an_exception_is_part_of_the_line(logger: logging.Logger, output: io.StringIO) -> None:
    try:
        raise ValueError("first\nsecond")
    except ValueError:
        logger.exception("failed", stack_info=True)
    (line,) = lines(output)
    assert "ValueError: first\nsecond" in str(line["exception"])
    assert "Stack (most recent call last)" in str(line["stack"])


TEXTS = {"newline": 'forged\n{"level":"ERROR"}', "unicode": "é\u2028\ud800", "quotes": '"\\'}


@pytest.mark.parametrize("kind", TEXTS)
def test_no_text_breaks_a_line(logger: logging.Logger, output: io.StringIO, kind: str) -> None:
    text = TEXTS[kind]
    logger.info(text)
    assert output.getvalue().isascii()
    (line,) = lines(output)
    assert line["msg"] == text
