"""A Postgres server of a test's own, which may be stopped and restarted: other tests use the shared one meanwhile."""

import asyncio
import os
import shutil
import socket
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

__all__ = ["Cluster", "cluster"]

_SETTINGS = """
listen_addresses = '127.0.0.1'
unix_socket_directories = '{directory}'
port = {port}
max_connections = 60
fsync = on
"""


def _binaries() -> Path:
    """Where the programs of the server are."""
    given = os.environ.get("WORKFLOW_POSTGRES_BIN")
    found = [Path(given)] if given else sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    on_path = shutil.which("pg_ctl")
    if not found and on_path:
        found = [Path(on_path).parent]
    assert found, "this test starts a server of its own: install postgresql, or say where it is: WORKFLOW_POSTGRES_BIN"
    return found[-1]


class Cluster:
    """A server and its data.

    Attributes:
        url: where it is.
    """

    def __init__(self, directory: Path, port: int) -> None:
        self._directory, self._port = directory, port
        self.url = f"postgresql://postgres@127.0.0.1:{port}/postgres"

    async def make(self) -> None:
        """Make the data directory, and start."""
        arguments = ("-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync")
        await self._run("initdb", "-D", str(self._directory / "data"), *arguments)
        with (self._directory / "data/postgresql.conf").open("a") as settings:
            settings.write(_SETTINGS.format(directory=self._directory, port=self._port))
        await self.start()

    async def start(self) -> None:
        """Start, and return when it takes connections."""
        await self._control("start", "-w", "-t", "60", "-l", str(self._directory / "log"))

    async def stop(self) -> None:
        """As a crash: without a checkpoint and without saying goodbye to anybody."""
        await self._control("stop", "-m", "immediate", "-w")

    async def restart(self) -> None:
        """Crash, and recover."""
        await self._control("restart", "-m", "immediate", "-w", "-t", "60", "-l", str(self._directory / "log"))

    async def _control(self, *arguments: str) -> None:
        await self._run("pg_ctl", "-D", str(self._directory / "data"), "-s", *arguments)

    async def _run(self, program: str, *arguments: str) -> None:
        command = [str(_binaries() / program), *arguments]
        if os.geteuid() == 0:  # the server refuses to run as root
            command = ["runuser", "-u", "postgres", "--", *command]
        # The server inherits what its starter has open, so its output goes to a file: a pipe would never end.
        output = self._directory / "output"
        with output.open("ab") as file:
            process = await asyncio.create_subprocess_exec(
                *command, cwd="/", stdin=asyncio.subprocess.DEVNULL, stdout=file, stderr=file
            )
            status = await process.wait()
        assert status == 0, f"{' '.join(command)}: {output.read_text()}"


@asynccontextmanager
async def cluster() -> AsyncIterator[Cluster]:
    """A server that is stopped and deleted at the end."""
    directory = Path(tempfile.mkdtemp(prefix="wf-", dir="/tmp"))  # sockets need a short path
    if os.geteuid() == 0:
        shutil.chown(directory, "postgres")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    made = Cluster(directory, port)
    try:
        await made.make()
        yield made
    finally:
        try:
            if (directory / "data/postmaster.pid").exists():
                await made.stop()
        finally:
            shutil.rmtree(directory)
