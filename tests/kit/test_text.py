"""Checks that name the field and the value."""

import pytest

from workflow_adapters.kit.text import INT4, check_number, check_text, is_text


def test_text_that_a_database_cannot_hold_is_refused_with_field_and_value() -> None:
    for value, why in (("nul \0", "NUL"), ("lone \ud800", "surrogate"), ("é" * 6, "12 bytes, at most 10")):
        with pytest.raises(ValueError, match=why) as raised:
            check_text("foreign_id", value, longest=10)
        assert "foreign_id" in str(raised.value)
        assert repr(value) in str(raised.value)
    for value in ("", "plain", "é\U0001f600"):
        check_text("foreign_id", value, longest=10)


def test_a_long_value_is_shown_shortened() -> None:
    with pytest.raises(ValueError, match="NUL") as raised:
        check_text("last_error", "x" * 100_000 + "\0")
    assert len(str(raised.value)) < 200


def test_whether_a_text_can_be_asked_for() -> None:
    assert is_text("é")
    assert not is_text("\0")
    assert not is_text("\udfff")


def test_numbers_out_of_range_are_refused_with_field_and_value() -> None:
    check_number("status", 2**63 - 1)
    check_number("version", -(2**31), INT4)
    with pytest.raises(ValueError, match=r"status must be between -9223372036854775808 .* 9223372036854775808$"):
        check_number("status", 2**63)
    with pytest.raises(ValueError, match="version"):
        check_number("version", 2**31, INT4)
