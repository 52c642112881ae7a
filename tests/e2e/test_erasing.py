"""Erasing the data of a run."""

from typing import Literal

from tests.e2e.model import PATIENCE, Status, Thing, waiting
from tests.e2e.personal import PERSON, answers, live_and_be_erased
from workflow import (
    Builder,
    Run,
    RunState,
)
from workflow.protocols import Backend
from workflow.testing import wait_for


async def test_deleted_data_is_gone_from_record_and_history(backend: Backend) -> None:
    """R-DELETE-3, R-DELETE-4, W-23."""
    builder = Builder("forgetting", Thing, Status)

    @builder.step(Status.A)
    async def work(run: Run[Thing, Status]) -> Literal[Status.B]:
        run.object.text = "secret"
        return Status.B

    wf = builder.build(backend)
    async with wf.running():
        run_id = await wf.trigger("person", Thing(text="secret too"))
        await wf.wait_for("person", Status.B, timeout=PATIENCE)
        await wf.delete_data(run_id, "asked to")
        await wait_for(wf, "person", lambda run: run.run_state is RunState.DATA_DELETED, timeout=PATIENCE)
        kept = [*await backend.record_store.history(run_id), (await backend.record_store.lookup([run_id]))[run_id]]
        assert not any(b"secret" in record.object for record in kept)
        assert [record.version for record in kept] == [1, 2, 3, 4, 4]


async def test_erasing_takes_the_reasons_and_leaves_who_did_what(backend: Backend) -> None:
    wf = waiting("reasons").build(backend)
    async with wf.running():
        run_id = await wf.trigger("person")
        await wf.pause(run_id, "secret illness", actor="nurse")
        await wf.resume(run_id, "secret recovery", actor="nurse")
        await wf.cancel(run_id, "secret ending", actor="doctor")
        await wf.delete_data(run_id, "secret wish", actor="privacy office")
        await wait_for(wf, "person", lambda run: run.run_state is RunState.DATA_DELETED, timeout=PATIENCE)
    history = await backend.record_store.history(run_id)
    present = (await backend.record_store.lookup([run_id]))[run_id]
    for version in history[:-1]:
        assert (version.meta.reason, version.meta.run_state_reason, version.last_error) == ("", "", "")
    assert (present.object, present.last_error, present.meta.reason) == (history[-1].object, "", "")
    # The reason of the erasure itself is no data of before: it says why the run is as it is.
    assert present.meta.run_state_reason == "secret wish"
    assert repr([*history, present]).count("secret") == 2
    assert [version.meta.actor for version in history] == ["", "nurse", "nurse", "doctor", "privacy office", ""]
    assert [str(version.meta.cause) for version in history] == [
        *("trigger", "pause", "resume", "cancel"),
        *("delete", "delete"),
    ]


async def test_no_port_says_anything_of_a_person_who_was_erased(backend: Backend) -> None:
    """Errors of steps and timers, reasons, dead letters, callbacks that wait for this run alone."""
    run_id = await live_and_be_erased(backend)
    for question, answer in (await answers(backend, run_id)).items():
        assert PERSON not in str(answer), question
