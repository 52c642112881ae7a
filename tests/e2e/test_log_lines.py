"""The log of failures of every kind of handler: no text of an exception breaks a line or reaches a terminal raw."""

import logging
from datetime import datetime, timedelta
from typing import Literal

import pytest

from tests.e2e.model import PATIENCE, Status, Thing
from workflow import Builder, Run, RunState
from workflow.protocols import Backend
from workflow.testing import wait_for

FORGED = "gone\nERROR forged\r\x1b[31m\x85\u2028end"


async def test_no_handlers_exception_reaches_a_log_line_raw(backend: Backend, caplog: pytest.LogCaptureFixture) -> None:
    builder = Builder("forging", Thing, Status)
    failed: set[str] = set()

    def fail_once(kind: str) -> None:
        if kind not in failed:
            failed.add(kind)
            raise RuntimeError(f"{kind}: {FORGED}")

    @builder.step(Status.A)
    async def step(run: Run[Thing, Status]) -> Literal[Status.B]:
        fail_once("step")
        return Status.B

    @builder.timeout(Status.B, timedelta(milliseconds=10), to=Status.C)
    async def timer(run: Run[Thing, Status], now: datetime) -> Status:
        fail_once("timeout")
        return Status.C

    @builder.on_complete
    async def hook(run: Run[Thing, Status]) -> None:
        fail_once("hook")

    def keep(thing: Thing) -> Thing:
        fail_once("erase")
        return Thing()

    wf = builder.build(backend, custom_delete=keep)
    with caplog.at_level(logging.DEBUG, "workflow"):
        async with wf.running():
            run_id = await wf.trigger("key")
            await wf.wait_for("key", Status.C, run_id=run_id, timeout=PATIENCE)
            await wf.delete_data(run_id)
            await wait_for(wf, "key", lambda run: run.run_state is RunState.DATA_DELETED, timeout=PATIENCE)
    said = [record.getMessage() for record in caplog.records]
    for kind in ("step", "timeout", "hook", "erase"):
        assert any(f"{kind}: gone" in message for message in said), kind
    for message in said:
        assert message.isprintable(), message
