"""A deploy: the release before and this one work on one database, which this one has migrated meanwhile."""

from pathlib import Path

import pytest

from tests.releases.node import ROOT, install_earlier, node
from tests.releases.stores import STORES, Store
from workflow.verify import verify

RUNS = 40


@pytest.fixture(scope="module")
def earlier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install_earlier(tmp_path_factory.mktemp("earlier"))


@pytest.mark.parametrize("kind", STORES)
async def test_both_releases_work_on_one_database(kind: str, earlier: Path, tmp_path: Path) -> None:
    async with Store.of(kind, tmp_path) as store, node("old", earlier, store.url) as old:
        # Runs of the old release stand at every status that waits when the new one arrives.
        await old.do("run")
        await old.do("trigger", prefix="before", count=RUNS)
        await old.do("answer", prefix="before", count=RUNS // 2)
        (waiting,) = await old.do("trigger", prefix="steered", count=1)
        async with node("new", ROOT, store.url) as new:
            await new.do("run")
            await old.do("trigger", prefix="old", count=RUNS)
            await new.do("trigger", prefix="new", count=RUNS)
            await new.do("answer", prefix="old", count=RUNS)
            await old.do("answer", prefix="new", count=RUNS)
            await new.do("finish", prefix="old", count=RUNS)
            await old.do("finish", prefix="new", count=RUNS)
            states = await new.do("steer", run_id=waiting)
            assert states[-5:] == ["Paused", "Running", "Cancelled", "Requested Data Deleted", "Data Deleted"]
            assert (await old.do("look", run_id=waiting))["state"] == "Data Deleted"
            (also,) = await new.do("trigger", prefix="also", count=1)
            assert len(await old.do("steer", run_id=also)) >= 5
            # The old release can leave, and come back onto the migrated database.
            await old.do("stop")
            await new.do("trigger", prefix="alone", count=RUNS)
            await new.do("answer", prefix="alone", count=RUNS)
            handled = await new.do("finish", prefix="alone", count=RUNS)
            assert set(handled) == {"new"}
            async with node("old again", earlier, store.url) as again:
                await again.do("run")
                await new.do("stop")
                await again.do("trigger", prefix="again", count=RUNS)
                await again.do("answer", prefix="again", count=RUNS)
                assert set(await again.do("finish", prefix="again", count=RUNS)) == {"old again"}
        async with store.backend() as backend:
            report = await verify(backend.record_store, "orders")
            assert report.ok, str(report)
            assert report.runs == 5 * RUNS + 2
