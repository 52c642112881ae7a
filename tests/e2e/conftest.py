"""Fixtures of the end-to-end tests."""

import pytest


@pytest.fixture
def tails_do_not_linger(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wait in a process that runs no workflow keeps its reading for the next caller; here nobody comes."""
    monkeypatch.setattr("workflow._engine.news.LINGER", 0.01)
