"""The supervisor."""

from workflow import (
    ProcessState,
)


def test_process_states_have_the_numbers_and_texts_of_the_reference() -> None:
    """R-MODEL-11."""
    assert {int(state): str(state) for state in ProcessState} == {0: "Unknown", 1: "Shutdown", 2: "Running", 3: "Idle"}
