"""The sign-up acceptance test: steps, three callbacks, a sharded step, a timeout and a hook, on every backend."""

import asyncio
from datetime import datetime, timedelta
from enum import IntEnum
from typing import Literal

import msgspec

from tests.e2e.model import PATIENCE
from workflow import Builder, Decision, Options, ProcessState, Run
from workflow.protocols import Backend
from workflow.testing import FakeClock, await_timeout_insert, require, trigger_callback_on
from workflow.verify import verify


class SignUp(IntEnum):
    INITIATED = 1
    PROFILE_CREATED = 2
    EMAIL_CONFIRMATION_SENT = 3
    EMAIL_VERIFIED = 4
    CELLPHONE_NUMBER_SUBMITTED = 5
    OTP_SENT = 6
    OTP_VERIFIED = 7
    COMPLETED = 8


class User(msgspec.Struct):
    uid: str = ""
    email: str = ""
    cellphone: str = ""
    otp: int = 0
    otp_verified: bool = False
    finished_at: str = ""


builder = Builder("user sign up", User, SignUp)


@builder.step(SignUp.INITIATED)
async def create_profile(run: Run[User, SignUp]) -> Literal[SignUp.PROFILE_CREATED]:
    run.object.uid = "user-1"
    return SignUp.PROFILE_CREATED


@builder.step(SignUp.PROFILE_CREATED)
async def send_confirmation(run: Run[User, SignUp]) -> Literal[SignUp.EMAIL_CONFIRMATION_SENT]:
    return SignUp.EMAIL_CONFIRMATION_SENT


class EmailAnswer(msgspec.Struct):
    email: str


@builder.callback(SignUp.EMAIL_CONFIRMATION_SENT)
async def confirm_email(run: Run[User, SignUp], payload: EmailAnswer) -> Literal[SignUp.EMAIL_VERIFIED] | Decision:
    run.object.email = payload.email
    return SignUp.EMAIL_VERIFIED


@builder.callback(SignUp.EMAIL_VERIFIED)
async def submit_cellphone(run: Run[User, SignUp], payload: str) -> Literal[SignUp.CELLPHONE_NUMBER_SUBMITTED]:
    run.object.cellphone = payload
    return SignUp.CELLPHONE_NUMBER_SUBMITTED


@builder.step(SignUp.CELLPHONE_NUMBER_SUBMITTED, options=Options(parallel_count=2))
async def send_otp(run: Run[User, SignUp]) -> Literal[SignUp.OTP_SENT]:
    run.object.otp = 12345
    return SignUp.OTP_SENT


@builder.callback(SignUp.OTP_SENT)
async def verify_otp(run: Run[User, SignUp], payload: int) -> Literal[SignUp.OTP_VERIFIED] | Decision:
    if payload != run.object.otp:
        return run.skip()
    run.object.otp_verified = True
    return SignUp.OTP_VERIFIED


@builder.timeout(SignUp.OTP_VERIFIED, timedelta(hours=1))
async def complete(run: Run[User, SignUp], now: datetime) -> Literal[SignUp.COMPLETED]:
    run.object.finished_at = now.isoformat()
    return SignUp.COMPLETED


told: list[str] = []


@builder.on_complete
async def note(run: Run[User, SignUp]) -> None:
    told.append(run.object.uid)


async def test_a_user_signs_up(backend: Backend) -> None:
    """R-TEST-1, R-HOOK-5."""
    told.clear()
    clock = FakeClock()
    wf = builder.build(backend, clock=clock)
    async with wf.running():
        run_id = await wf.trigger("andrew")
        await require(wf, "andrew", SignUp.PROFILE_CREATED, User(uid="user-1"), timeout=PATIENCE)
        sent = SignUp.EMAIL_CONFIRMATION_SENT
        await trigger_callback_on(wf, "andrew", run_id, sent, EmailAnswer("a@example.com"), timeout=PATIENCE)
        await trigger_callback_on(wf, "andrew", run_id, SignUp.EMAIL_VERIFIED, "+44 349 8594", timeout=PATIENCE)
        await trigger_callback_on(wf, "andrew", run_id, SignUp.OTP_SENT, 12345, timeout=PATIENCE)
        await await_timeout_insert(wf, "andrew", run_id, SignUp.OTP_VERIFIED, timeout=PATIENCE)
        clock.advance(timedelta(hours=1))
        run = await wf.wait_for("andrew", SignUp.COMPLETED, timeout=PATIENCE)
        assert run.object == User(
            uid="user-1",
            email="a@example.com",
            cellphone="+44 349 8594",
            otp=12345,
            otp_verified=True,
            finished_at="2025-01-01T01:00:00+00:00",
        )
        assert run.meta.status_description == "Completed"
        async with asyncio.timeout(20):
            while not told:
                await asyncio.sleep(0.01)
        assert told == ["user-1"]
        assert not (await verify(backend.record_store, wf, acknowledged={run_id: 8})).violations


async def test_processes_carry_the_names_of_the_reference(backend: Backend) -> None:
    """R-ROLE-3, R-PROC-2, R-PROC-5, R-TEST-3; sweep-consumer is ours."""
    wf = builder.build(backend)
    assert wf.states() == {}
    async with wf.running():
        assert set(wf.states()) == {
            "initiated-consumer-1-of-1",
            "profile_created-consumer-1-of-1",
            "cellphone_number_submitted-consumer-1-of-2",
            "cellphone_number_submitted-consumer-2-of-2",
            "otp_verified-timeout-auto-inserter-consumer",
            "otp_verified-timeout-consumer",
            "outbox-consumer",
            "delete-consumer",
            "paused-records-retry-consumer",
            "sweep-consumer",
            "completed-run-state-change-hook-consumer",
        }
    assert set(wf.states().values()) == {ProcessState.SHUTDOWN}
