"""The password of the address is in no text: no repr, no error, no log line."""

import gc
import logging
import traceback

import pytest

from workflow.errors import Unavailable
from workflow_adapters.postgres import PostgresBackend

SECRET = "s3cr3t"
NOBODY = "127.0.0.1:1"


def test_no_object_of_the_adapter_shows_it() -> None:
    backend = PostgresBackend(f"postgresql://me:{SECRET}@{NOBODY}/x", listen_dsn=f"postgresql://me:{SECRET}@{NOBODY}/y")
    seen = 0
    for one in gc.get_objects():
        if str(type(one).__module__).startswith(("workflow.", "workflow_adapters.")):
            seen += 1
            assert SECRET not in f"{one!r} {one!s}"
    assert seen > 10
    assert SECRET not in repr([*backend.parts(), backend._core._connections.server])


@pytest.mark.parametrize(
    "address",
    [
        f"postgresql://me:{SECRET}/x@{NOBODY}/db",
        f"postgresql://me:{SECRET}#x@{NOBODY}/db",
        f"postgresql://me:x?{SECRET}@{NOBODY}/db",
        f"postgresql://me:x[{SECRET}@{NOBODY}/db",
        f"postgresql://me@localhost:{SECRET}/db",
        f"mysql://me:{SECRET}@{NOBODY}/db",
        f"me:{SECRET}@{NOBODY}",
        f"postgresql://me:{SECRET}@{NOBODY}/db?sslmode={SECRET}",
    ],
)
async def test_an_address_that_cannot_be_used_is_refused_without_showing_it(address: str) -> None:
    with pytest.raises(ValueError, match="dsn= cannot be used") as caught:
        async with PostgresBackend(address):
            pass
    assert SECRET not in "".join(traceback.format_exception(caught.value))


async def test_a_server_that_is_away_is_reported_without_it(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG), pytest.raises(Unavailable) as caught:
        async with PostgresBackend(f"postgresql://me:{SECRET}@{NOBODY}/db"):
            pass
    assert SECRET not in "".join(traceback.format_exception(caught.value)) + caplog.text
