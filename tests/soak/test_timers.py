"""A short version of the soak with 100,000 timers."""

import pytest

from tests.postgres.database import fresh
from tests.soak.timers import fire_timers


@pytest.mark.timeout(240)
async def test_timers_that_are_due_at_once_fire_once_each() -> None:
    async with fresh() as database:
        timers = await fire_timers(database.url, database.schema, timers=1_000, window=1, ahead=15)
    assert timers.calls == 1_000
