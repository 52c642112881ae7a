"""Names of topics, roles and consumers: they name locks and durable cursors, so they never change."""

from enum import IntEnum

from workflow._declare.definition import status_text
from workflow._model import topology as names
from workflow._model.shard import WHOLE, Shard


class Status(IntEnum):
    OTP_SENT = 1
    DONE = 2


def test_topics_keep_case_and_lose_blanks() -> None:
    """R-TOPIC-1, R-TOPIC-2."""
    assert names.topic("user sign up", 3) == "user_sign_up-3"
    assert names.topic("Sign Up", 3) == "Sign_Up-3"
    assert names.delete_topic("user sign up") == "user_sign_up-delete"
    assert names.run_state_change_topic("user sign up") == "user_sign_up-run-state-change"


def test_roles_and_processes_are_lower_case_parts() -> None:
    """R-ROLE-1, R-ROLE-2, R-ROLE-5."""
    assert names.joined("User Sign up", 3, *names.shard_parts(Shard(1, 2))) == "user_sign_up-3-consumer-1-of-2"
    assert names.shard_parts(WHOLE) == ("consumer", 1, "of", 1)


def test_process_names_come_from_the_text_of_a_status_and_roles_from_its_number() -> None:
    """R-MODEL-1, R-ROLE-4: renaming a member changes metrics, never a cursor."""
    assert status_text(Status, 1) == "Otp Sent"
    assert status_text(Status, 99) == "99"

    class Spoken(IntEnum):
        SENT = 1

        def __str__(self) -> str:
            return "it was sent"

    assert status_text(Spoken, 1) == "it was sent"
