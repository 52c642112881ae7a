"""A process of one release, and how the earlier release is got."""

import asyncio
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
EARLIER = "f925bf7"
"""The commit of the release before this one."""


def install_earlier(directory: Path) -> Path:
    """The packages of the earlier release, as they were committed, in this directory."""
    archive = subprocess.run(
        ["git", "archive", EARLIER, "workflow", "workflow_adapters"], cwd=ROOT, check=True, capture_output=True
    ).stdout
    with tarfile.open(fileobj=BytesIO(archive)) as packages:
        packages.extractall(directory, filter="data")
    return directory


class Node:
    """A running program; each command gets one answer."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def answer(self) -> Any:
        assert self._process.stdout is not None
        line = await asyncio.wait_for(self._process.stdout.readline(), 90)
        assert line, "the program has ended; its errors are above"
        return json.loads(line)

    async def do(self, verb: str, **arguments: Any) -> Any:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": verb, **arguments}).encode() + b"\n")
        await self._process.stdin.drain()
        return await self.answer()


@asynccontextmanager
async def node(release: str, packages: Path, url: str, file: str = "program.py") -> AsyncIterator[Node]:
    """A program of this release on the backend at `url`; it must end by itself, cleanly, when its input closes."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(Path(__file__).with_name(file)),
        url,
        env={**os.environ, "PYTHONPATH": str(packages), "RELEASE": release},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=2**24,
    )
    program = Node(process)
    try:
        assert await program.answer() == "open"
        yield program
        assert process.stdin is not None
        process.stdin.close()
        assert await asyncio.wait_for(process.wait(), 60) == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
