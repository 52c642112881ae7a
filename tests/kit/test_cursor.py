"""Opaque cursors of pages."""

import base64
from datetime import UTC, datetime, timedelta, timezone

import pytest

from workflow_adapters.kit.cursor import decode_cursor, encode_cursor

MOMENT = datetime(2024, 2, 29, 12, 30, 15, 123456, tzinfo=UTC)


@pytest.mark.parametrize(
    ("place", "types"),
    [
        ((MOMENT, 17), (datetime, int)),
        ((MOMENT, "run é \U0001f600/+ \0 1:2"), (datetime, str)),
        ((0,), (int,)),
        ((-(2**63), 2**63 - 1), (int, int)),
        ((datetime(1, 1, 1, tzinfo=UTC), datetime.max.replace(tzinfo=UTC)), (datetime, datetime)),
    ],
)
def test_a_place_survives(place: tuple[int | str | datetime, ...], types: tuple[type, ...]) -> None:
    cursor = encode_cursor("store:runs", *place)
    assert cursor.isascii()
    assert not set(cursor) & set("=/+ &?")
    assert decode_cursor("store:runs", cursor, types) == list(place)


def test_a_moment_of_another_zone_is_the_same_moment() -> None:
    there = MOMENT.astimezone(timezone(timedelta(hours=5)))
    assert decode_cursor("x", encode_cursor("x", there), [datetime]) == [MOMENT]


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "nonsense",
        "\ud800",
        "ünicode",
        "=" * 7,
        "A" * 100_001,
        encode_cursor("store:timers", MOMENT, 17),
        encode_cursor("store:runs", MOMENT, "17"),
        encode_cursor("store:runs", MOMENT),
        encode_cursor("store:runs", MOMENT, 17, 1),
        encode_cursor("store:runs", MOMENT, 2**63),
        encode_cursor("store:runs", MOMENT, True),
        *(
            base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")
            for text in ("[]", "{}", "null", '"store:runs"', '["store:runs",1e400,1]', f'["store:runs",{10**30},1]')
        ),
        base64.urlsafe_b64encode(b"[" * 100_000).decode(),
    ],
)
def test_a_foreign_cursor_is_refused_and_shown(cursor: str) -> None:
    with pytest.raises(ValueError, match="is no cursor of this listing") as raised:
        decode_cursor("store:runs", cursor, (datetime, int))
    assert repr(cursor[:80]) in str(raised.value)
