"""Names of topics, roles and consumers: they name locks and durable cursors, so they never change."""

from enum import IntEnum

from workflow import RunState
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


def test_roles_and_consumers_are_those_of_the_release_before() -> None:
    """They name locks and durable cursors: one that changed would be read from the beginning, or by two at once."""
    second = Shard(2, 3)
    assert names.step_role("orders", 1, second) == "orders-1-consumer-2-of-3"
    assert names.step_consumer("orders", 1) == "orders-1-consumer"
    assert names.timer_consumer("orders", 1) == "orders-1-timeout-auto-inserter-consumer"
    assert names.timer_role("orders", 1) == "orders-1-timeout-consumer"
    assert names.hook_consumer("orders", RunState.DATA_DELETED) == "orders-data_deleted-run-state-change-hook-consumer"
    assert names.delete_consumer("orders") == "orders-delete-consumer"
    assert names.connector_role("orders", "Order Feed", second) == "order_feed-connector-to-orders-consumer-2-of-3"
    assert names.connector_consumer("orders", "Order Feed") == "order_feed-connector-to-orders-consumer"
    assert names.shard_group("orders", second) == "orders/2-of-3"


def test_a_name_that_may_read_like_another_is_followed_by_its_checksum() -> None:
    exact = {name: names.role(name, 1) for name in ("user sign up", "User sign up", "user_sign up", "USER SIGN UP")}
    assert exact["user sign up"] == "user_sign_up-1"
    assert names.step_consumer("User Sign_up", 1) == "user_sign_up-00a08a67-1-consumer"
    assert names.connector_role("User Sign_up", "f", WHOLE) == "f-connector-to-user_sign_up-00a08a67-consumer-1-of-1"
    assert names.shard_group("User Sign_up", WHOLE) == "user_sign_up-00a08a67/1-of-1"
    assert len(set(exact.values())) == len(exact)
