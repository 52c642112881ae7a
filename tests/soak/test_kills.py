"""A short version of the soak on each durable store."""

from pathlib import Path

import pytest

from tests.postgres.database import fresh
from tests.soak.kills import Kills, kill_workers


async def _short(store: str, schema: str) -> Kills:
    return await kill_workers(store, schema, runs=1_000, seconds=8)


def _judge(kills: Kills) -> None:
    assert kills.kills >= 3
    assert kills.under_way > 0, "workers were killed while there was something to lose"


@pytest.mark.timeout(240)
async def test_workers_on_postgres_are_killed_every_second() -> None:
    async with fresh() as database:
        _judge(await _short(database.url, database.schema))


@pytest.mark.timeout(240)
async def test_workers_on_sqlite_are_killed_every_second(tmp_path: Path) -> None:
    _judge(await _short(str(tmp_path / "soak.db"), ""))
