"""Starting the programs, and ending only what was started."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

Process = asyncio.subprocess.Process
ROOT = Path(__file__).parents[2]


@asynccontextmanager
async def started(name: str, *arguments: str) -> AsyncIterator[Process]:
    """A program of `tests.sqlite.programs`, killed in the end if it still runs."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "tests.sqlite.programs", name, *arguments),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def run(name: str, *arguments: str, within: float = 60) -> tuple[int | None, str, str]:
    """Its exit code, output and errors; a TimeoutError if it does not end."""
    async with started(name, *arguments) as process, asyncio.timeout(within):
        output, errors = await process.communicate()
        return process.returncode, output.decode(), errors.decode()


async def line(process: Process) -> str:
    """The next line that it prints."""
    assert process.stdout is not None
    async with asyncio.timeout(60):
        return (await process.stdout.readline()).decode().strip()
