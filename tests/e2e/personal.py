"""A run that has personal data wherever a run can have it, and is erased."""

from datetime import UTC, datetime, timedelta

from tests.e2e.model import PATIENCE, Status, Thing
from workflow import Builder, Run, RunState
from workflow.protocols import Backend, DeadLetter, DeadLetterQuery, HeldCallback, TimeoutQuery, TimeoutRecord
from workflow.testing import wait_for

PERSON = "Ms Undisclosed"
NAME = "personal"
_NOW = datetime(2026, 1, 1, tzinfo=UTC)


async def live_and_be_erased(backend: Backend) -> str:
    """Its step and its timer fail with the name in their errors, people give reasons, letters and callbacks wait."""
    builder = Builder(NAME, Thing, Status)
    failed: set[str] = set()

    def fail_once(kind: str, run: Run[Thing, Status]) -> None:
        if kind not in failed:
            failed.add(kind)
            raise RuntimeError(f"{kind}: {run.object.text}")

    @builder.step(Status.A, to=Status.B)
    async def step(run: Run[Thing, Status]) -> Status:
        fail_once("step", run)
        return Status.B

    @builder.timeout(Status.B, timedelta(milliseconds=10), to=Status.C)
    async def timer(run: Run[Thing, Status], now: datetime) -> Status:
        fail_once("timer", run)
        return Status.C

    wf = builder.build(backend)
    async with wf.running():
        run_id = await wf.trigger("person", Thing(text=PERSON))
        await wf.pause(run_id, f"because of {PERSON}")
        await wf.resume(run_id, f"{PERSON} is well again")
        await wf.wait_for("person", Status.C, run_id=run_id, timeout=PATIENCE)
        await _put_aside(backend, run_id)
        assert {"step", "timer"} <= failed
        await wf.delete_data(run_id, "they asked for it")
        await wait_for(wf, "person", lambda run: run.run_state is RunState.DATA_DELETED, timeout=PATIENCE)
    return run_id


async def _put_aside(backend: Backend, run_id: str) -> None:
    letter = DeadLetter(
        workflow_name=NAME,
        source="hook",
        run_id=run_id,
        data=PERSON.encode(),
        reason=f"{PERSON} cannot be called",
        created_at=_NOW,
    )
    await backend.record_store.add_dead_letters([letter])
    callback = HeldCallback(
        id="of this run alone",
        workflow_name=NAME,
        foreign_id="person",
        run_id=run_id,
        status=1,
        payload=PERSON.encode(),
        created_at=_NOW,
        expires_at=_NOW + timedelta(days=36500),
    )
    await backend.record_store.hold(callback)


async def answers(backend: Backend, run_id: str) -> dict[str, object]:
    """What every port says of the run."""
    records, timers = backend.record_store, backend.timeout_store
    found: list[TimeoutRecord] = []
    if timers is not None:
        for completed in (False, True):
            found += await timers.list(TimeoutQuery(workflow_name=NAME, run_id=run_id, completed=completed))
    return {
        "record": (await records.lookup([run_id]))[run_id],
        "history": list(await records.history(run_id)),
        "dead letters": list(await records.list_dead_letters(DeadLetterQuery(workflow_name=NAME))),
        "held callbacks": list(await records.list_held(NAME)),
        "timers": found,
        "outbox": (await records.list_outbox(NAME, now=datetime.now(UTC), limit=100)).events,
        "catalog": [published.info for published in await records.workflows()],
    }
