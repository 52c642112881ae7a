"""One message is one line, whatever is in the text of an exception."""

import logging
import sys

import pytest

from workflow._engine.log import SafeLogger, one_line
from workflow_adapters.kit import text

CONTROLS = [*(chr(code) for code in range(32)), "\x7f", *(chr(code) for code in range(0x80, 0xA0)), "\u2028", "\u2029"]


def test_every_line_break_and_control_character_is_escaped_and_nothing_else() -> None:
    for character in CONTROLS:
        line = one_line(f"before{character}after")
        assert line == text.one_line(f"before{character}after")
        assert len(line.splitlines()) == 1
        assert line.startswith("before\\")
        assert line.endswith("after")
    for kept in ("", "plain", "Grüße, 世界 🙂", "a\u00a0b", r"c:\new"):
        assert one_line(kept) == text.one_line(kept) == kept
    everything = "".join(map(chr, range(sys.maxunicode + 1)))
    assert len(one_line(everything).splitlines()) == 1


def test_the_arguments_of_a_message_break_no_line_and_the_trace_stays(caplog: pytest.LogCaptureFixture) -> None:
    class Forging(Exception):
        pass

    error = Forging("no such order\nERROR all is lost\x1b[2J")
    clean = ValueError("plain")
    log = SafeLogger(logging.getLogger("test.log"))
    with caplog.at_level(logging.WARNING, "test.log"):
        log.warning("attempt %d failed: %s", 3, error, exc_info=error)
        log.error("%s", clean)
    first, second = caplog.records
    assert first.getMessage() == "attempt 3 failed: no such order\\nERROR all is lost\\x1b[2J"
    assert first.exc_info is not None
    assert first.exc_info[1] is error
    assert second.args == (clean,), "what needs no care is passed on as it is"


def test_an_adapter_describes_an_error_in_one_line() -> None:
    assert text.described(ValueError("a\r\nb")) == r"ValueError: a\r\nb"
    assert text.described(ValueError()) == "ValueError"
