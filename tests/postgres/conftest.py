"""What the tests of the Postgres adapter share."""

from collections.abc import AsyncIterator

import pytest

from tests.backends import MissingService
from tests.postgres.database import Database, fresh


@pytest.fixture
async def database() -> AsyncIterator[Database]:
    """An empty schema."""
    try:
        async with fresh() as made:
            yield made
    except MissingService as missing:
        pytest.fail(str(missing), pytrace=False)
