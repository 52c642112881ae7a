"""A process's description of itself."""

import os
import socket
from datetime import UTC, datetime, timedelta

import pytest

from workflow_adapters.kit.identity import this_process


def test_it_names_host_and_pid_and_every_one_has_an_id_of_its_own() -> None:
    one, two = this_process("1.2"), this_process("1.2")
    assert (one.host, one.pid, one.release) == (socket.gethostname(), os.getpid(), "1.2")
    assert one.id != two.id
    assert one.started_at is not None
    assert datetime.now(UTC) - one.started_at < timedelta(minutes=1)


def test_the_release_comes_from_the_environment_unless_it_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORKFLOW_RELEASE", raising=False)
    assert this_process().release == ""
    monkeypatch.setenv("WORKFLOW_RELEASE", "3.4")
    assert this_process().release == "3.4"
    assert this_process("").release == ""
