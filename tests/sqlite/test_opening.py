"""Which files are opened, and what is said about those that are not."""

import os
import sqlite3
import tempfile
from pathlib import Path

import pytest

from tests.e2e.model import Thing
from tests.sqlite.process import run
from tests.sqlite.programs import moving, open_together
from workflow.errors import Unavailable
from workflow_adapters.sqlite import SQLiteBackend, schema
from workflow_adapters.sqlite.schema import UnusableFile


async def refusal(path: Path) -> str:
    with pytest.raises(UnusableFile) as caught:
        async with SQLiteBackend(path):
            pass
    assert caught.value.path == path
    assert str(path)[:40] in str(caught.value)
    return str(caught.value)


async def test_a_missing_directory_a_directory_and_another_kind_of_file_are_named(tmp_path: Path) -> None:
    assert "unable to open" in await refusal(tmp_path / "missing" / "runs.db")
    assert "unable to open" in await refusal(tmp_path)
    (tmp_path / "text").write_text("no database " * 1000)
    assert "not a database" in await refusal(tmp_path / "text")


async def test_a_path_that_no_file_can_have_is_refused_and_does_not_hang(tmp_path: Path) -> None:
    assert "null" in await refusal(tmp_path / "nul\0byte")


def test_a_private_memory_database_is_refused() -> None:
    """Each connection would have one of its own."""
    with pytest.raises(ValueError, match="MemoryBackend"):
        SQLiteBackend(":memory:")


def test_a_uri_is_refused() -> None:
    """It would be taken for the name of a file, beside the one that was meant."""
    with pytest.raises(ValueError, match="not a URI"):
        SQLiteBackend("file:runs.db?mode=rwc")


async def test_the_file_of_another_application_is_refused_and_left_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    connection = sqlite3.connect(path)
    connection.execute("create table theirs (x)")
    connection.close()
    before = path.read_bytes()
    assert "another application" in await refusal(path)
    assert path.read_bytes() == before


async def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    async with SQLiteBackend(path):
        pass
    connection = sqlite3.connect(path)
    connection.execute("pragma user_version = 99")
    connection.close()
    assert "version 99" in await refusal(path)


async def test_a_file_that_may_not_be_written_is_refused() -> None:
    # The directories of pytest are closed to whom the program becomes when the tests are run by root.
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "runs.db"
        async with SQLiteBackend(path):
            pass
        path.chmod(0o444)
        path.parent.chmod(0o555)
        code, output, errors = await run("read_only", str(path))
        path.parent.chmod(0o755)
    assert (code, output) == (1, "")
    assert "readonly database" in errors or "unable to open" in errors


def test_six_processes_may_open_a_fresh_file_at_the_same_moment(tmp_path: Path) -> None:
    assert open_together(str(tmp_path / "fresh"), 40) == []


async def test_a_file_in_order_opens_while_somebody_writes(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    async with SQLiteBackend(path):
        pass
    with sqlite3.connect(path, isolation_level=None) as writer:
        writer.execute("begin immediate")
        schema.open_file(path).close()
        writer.execute("rollback")
    writer.close()


async def test_a_fresh_file_that_stays_locked_is_unavailable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "LOCK_WAIT", 0.1)
    path = tmp_path / "runs.db"
    writer = sqlite3.connect(path, isolation_level=None)
    writer.execute("begin exclusive")
    with pytest.raises(Unavailable, match="locked"):
        async with SQLiteBackend(path):
            pass
    writer.execute("rollback")
    writer.close()
    async with SQLiteBackend(path):
        pass


async def test_a_relative_path_and_a_link_lead_to_the_same_file_whatever_the_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    relative = SQLiteBackend("runs.db")
    os.symlink(tmp_path / "runs.db", tmp_path / "link.db")
    monkeypatch.chdir(tmp_path / "elsewhere")
    async with relative, SQLiteBackend(tmp_path / "link.db") as linked:
        run_id = await moving(relative).trigger("key", Thing(text="same"))
        assert (await moving(linked).get(run_id)).object.text == "same"
    assert sorted(os.listdir(tmp_path)) == ["elsewhere", "link.db", "runs.db"]
