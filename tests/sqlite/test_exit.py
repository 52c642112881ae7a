"""A program that uses the engine ends, whatever happens to it: none may hang."""

import asyncio
import signal
from contextlib import suppress

import pytest

from tests.sqlite.process import line, run, started

PATHS = pytest.mark.parametrize("kind", ["memory", "file"])


@pytest.fixture
def path(kind: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    return "memory" if kind == "memory" else str(tmp_path_factory.mktemp("runs") / "runs.db")


@PATHS
async def test_an_error_in_the_body_ends_the_program(path: str) -> None:
    code, _, errors = await run("raises", path, within=20)
    assert (code, errors.strip().splitlines()[-1]) == (1, "ValueError: the body")


@PATHS
async def test_an_error_in_the_body_ends_the_program_once_a_plain_function_has_returned(path: str) -> None:
    """Python itself waits for threads; the engine must not wait for more than that."""
    code, _, errors = await run("raises_while_blocked", path, "4", within=40)
    assert (code, errors.strip().splitlines()[-1]) == (1, "ValueError: the body")


@PATHS
async def test_an_interrupt_ends_the_program(path: str) -> None:
    async with started("waits_for_signal", path) as process:
        assert await line(process) == "ready"
        process.send_signal(signal.SIGINT)
        async with asyncio.timeout(20):
            _, errors = await process.communicate()
    assert errors.decode().strip().splitlines()[-1] == "KeyboardInterrupt"


@PATHS
async def test_a_second_interrupt_does_not_make_it_hang(path: str) -> None:
    async with started("raises_while_blocked", path, "3600") as process:
        assert await line(process) == "blocking"
        for _ in range(3):
            with suppress(ProcessLookupError):  # it has ended
                process.send_signal(signal.SIGINT)
            await asyncio.sleep(0.3)
        async with asyncio.timeout(30):
            await process.communicate()
    assert process.returncode != 0


@PATHS
async def test_waiting_for_roles_is_cancelled_at_once(path: str) -> None:
    code, output, errors = await run("waits_for_roles", path, within=20)
    assert (code, output.strip()) == (0, "cancelled True"), errors


@PATHS
async def test_a_backend_closed_under_a_running_workflow_does_not_keep_it(path: str) -> None:
    code, output, errors = await run("closes_early", path, within=60)
    assert (code, output.strip()) == (0, "closed"), errors


@PATHS
async def test_fifty_workflows_share_a_backend_and_stop(path: str) -> None:
    code, output, errors = await run("many", path, within=60)
    assert (code, output.strip()) == (0, "all"), errors
