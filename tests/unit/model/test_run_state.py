"""The life cycle of a run: numbers, texts, and which state may follow which."""

from itertools import product

import pytest

from workflow import (
    RunState,
)
from workflow._model.run_state import TRANSITIONS


def test_run_states_have_the_numbers_and_texts_of_the_reference() -> None:
    """R-MODEL-6, R-MODEL-7."""
    assert {int(state): str(state) for state in RunState} == {
        0: "Unknown",
        1: "Initiated",
        2: "Running",
        3: "Paused",
        4: "Cancelled",
        5: "Completed",
        6: "Data Deleted",
        7: "Requested Data Deleted",
    }


def test_run_states_say_what_they_mean() -> None:
    """R-MODEL-8, R-MODEL-9, R-MODEL-10: completed is finished but not stopped."""
    finished = {RunState.CANCELLED, RunState.COMPLETED, RunState.DATA_DELETED, RunState.REQUESTED_DATA_DELETED}
    assert {state for state in RunState if state.valid} == set(RunState) - {RunState.UNKNOWN}
    assert {state for state in RunState if state.finished} == finished
    assert {state for state in RunState if state.stopped} == finished - {RunState.COMPLETED} | {RunState.PAUSED}
    for number in (-1, 8, 9999):
        with pytest.raises(ValueError, match=str(number)):
            RunState(number)


def test_every_pair_of_run_states_is_decided() -> None:
    """R-STATE-1, R-STATE-2: the moves allowed, and no other; Initiated to Cancelled is ours."""
    allowed = {
        ("Initiated", "Running"),
        ("Initiated", "Paused"),
        ("Initiated", "Cancelled"),
        ("Running", "Completed"),
        ("Running", "Paused"),
        ("Running", "Cancelled"),
        ("Paused", "Running"),
        ("Paused", "Cancelled"),
        ("Completed", "Requested Data Deleted"),
        ("Cancelled", "Requested Data Deleted"),
        ("Requested Data Deleted", "Data Deleted"),
        ("Data Deleted", "Requested Data Deleted"),
    }
    found = {(str(a), str(b)) for a, b in product(RunState, RunState) if b in TRANSITIONS[a]}
    assert found == allowed
