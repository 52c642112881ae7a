"""Everything wrong with a declaration is reported by `build`, in one error that names each place."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from enum import Enum, IntEnum
from typing import Any, Literal

import msgspec
import pytest

from workflow import Backend, Builder, BuildError, Decision, Options, Run
from workflow_adapters.memory import MemoryBackend, MemoryConnector


class Status(IntEnum):
    A = 1
    B = 2
    C = 3


class Other(IntEnum):
    A = 1
    B = 2


class Colour(Enum):
    RED = 1


class Thing(msgspec.Struct):
    count: int = 0


class Demanding(msgspec.Struct):
    name: str


R = Run[Thing, Status]
THING: Any = Thing


async def to_b(run: R) -> Literal[Status.B]:
    return Status.B


async def called(run: R, payload: bytes) -> Literal[Status.B]:
    return Status.B


async def expired(run: R, now: datetime) -> Literal[Status.B]:
    return Status.B


async def decides(run: R, payload: bytes) -> Decision:
    return run.skip()


def started(name: Any = "declared") -> Builder[Thing, Status]:
    builder = Builder(name, Thing, Status)
    builder.step(Status.A)(to_b)
    return builder


def problems(builder: Builder[Any, Any], **arguments: Any) -> tuple[str, ...]:
    """What `build` has to say, which must be something."""
    arguments.setdefault("backend", MemoryBackend())
    with pytest.raises(BuildError) as caught:
        builder.build(**arguments)
    assert all(problem in str(caught.value) for problem in caught.value.problems)
    return caught.value.problems


def one_problem(builder: Builder[Any, Any], **arguments: Any) -> str:
    found = problems(builder, **arguments)
    assert len(found) == 1, found
    return found[0]


def test_all_that_is_wrong_is_reported_at_once() -> None:
    """R-BUILD-2, R-BUILD-3, R-BUILD-7, R-BUILD-8, R-BUILD-11, W-46: nothing is hidden behind the first problem."""
    builder = Builder(" ", object, Status)
    builder.step(Status.A)(to_b)  # type: ignore[arg-type]
    builder.step(Status.A, to=Status.C)(to_b)  # type: ignore[arg-type]
    builder.step(Other.A, to=Status.C)(to_b)  # type: ignore[arg-type]
    builder.callback(Status.B, to=Other.B)(called)  # type: ignore[arg-type]
    builder.timeout(Status.B, 5, to=Status.C, options=Options(parallel_count=2))(expired)  # type: ignore[arg-type]
    builder.connector("feed", None)(print)  # type: ignore[arg-type]
    builder.schedule("key", "61 * * * *", timezone="UTC")
    found = problems(
        builder, starting_point=Status.C, pause_retry=timedelta(-1), default_options=Options(parallel_count=99)
    )
    for part in (
        "the name is empty",
        "only one step",
        "Other.A",
        "Other.B",
        "parallel_count cannot be set for a timeout",
        "5 is no timedelta",
        "connector 'feed'",
        "61",
        "pause_retry",
        "partitions",
        "object type object",
        "starting_point <Status.C: 3>",
    ):
        assert any(part in problem for problem in found), (part, found)


@pytest.mark.parametrize(
    ("declare", "part"),
    [
        (lambda b: b.step(Status.B, to=[])(to_b), "`to` says"),
        (lambda b: b.step(Status.B, to=[])(lambda run: run.skip()), "no destination"),
        (lambda b: b.step(Status.B, to=3)(lambda run: Status.C), "destination 3 "),
        (lambda b: b.step(Status.B, to="C")(lambda run: Status.C), "destination 'C'"),
        (lambda b: b.step(Status.B, to=[Status.C, Other.A])(lambda run: Status.C), "Other.A"),
        (lambda b: b.step(Status.B, to=Colour.RED)(lambda run: Status.C), "Colour.RED"),
        (lambda b: b.step(2, to=Status.C)(lambda run: Status.C), "step(2)"),
        (lambda b: b.step(None, to=Status.C)(lambda run: Status.C), "step(None)"),
        (lambda b: b.step(Status.B, to=Status.C)(None), "None is not a function"),
        (lambda b: b.step(Status.B, to=Status.C)(lambda: Status.C), "called with (run)"),
        (lambda b: b.step(Status.B, to=Status.C)(lambda run, more: Status.C), "more"),
        (lambda b: b.step(Status.B, to=Status.C, options={"timeout": 5})(lambda run: Status.C), "must be Options"),
        (lambda b: b.callback(Status.B, to=Status.C)(lambda run: Status.C), "called with (run, payload)"),
        (lambda b: b.timeout(Status.B, timedelta(-1), to=Status.C)(lambda run, now: Status.C), "negative"),
        (lambda b: b.timeout(Status.B, datetime(2025, 1, 1), to=Status.C)(lambda run, now: Status.C), "no time zone"),
        (lambda b: b.timeout(Status.B, "1h", to=Status.C)(lambda run, now: Status.C), "'1h' is no timedelta"),
        (lambda b: b.timeout(Status.B, lambda run: None, to=Status.C)(lambda run, now: Status.C), "(run, now)"),
        (lambda b: b.timeout(Status.B, timedelta(1), to=Status.C)(lambda run: Status.C), "(run, now)"),
        (lambda b: b.connector("", MemoryConnector())(lambda wf, event: None), "name must not be empty"),
        (lambda b: b.connector("feed", object())(lambda wf, event: None), "ConnectorSource"),
        (lambda b: b.connector("feed", MemoryConnector())(lambda event: None), "(wf, event)"),
        (lambda b: b.on_pause(lambda: None), "hook for Paused"),
        (lambda b: b.on_cancel(5), "5 is not a function"),
        (lambda b: b.schedule("", "@hourly"), "foreign_id"),
        (lambda b: b.schedule("key", None), "text"),
        (lambda b: b.schedule("key", "@hourly", timezone="Nowhere"), "Nowhere"),
        (lambda b: b.schedule("key", "@hourly", initial_value={"count": "x"}), "initial_value"),
        (lambda b: b.schedule("key", "@hourly", initial_value=THING(count="x")), "count"),
        (lambda b: b.schedule("key", "@hourly", filter=5), "filter"),
    ],
)
def test_each_wrong_declaration_is_named(declare: Callable[[Any], object], part: str) -> None:
    builder = started()
    declare(builder)
    assert any(part in problem for problem in problems(builder)), problems(builder)


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ({"backend": None}, "backend must be a Backend"),
        ({"default_options": {}}, "default_options"),
        ({"outbox_options": Options()}, "outbox_options"),
        ({"pause_retry": 5}, "pause_retry"),
        ({"pause_retry": timedelta(-1)}, "pause_retry"),
        ({"sweep_after": timedelta(0)}, "sweep_after"),
        ({"sweep_after": None}, "sweep_after"),
        ({"custom_delete": 5}, "custom_delete"),
        ({"custom_delete": lambda: None}, "custom_delete"),
        ({"clock": datetime}, "clock"),
        ({"codec": object()}, "codec"),
        ({"starting_point": Status.C}, "starting_point"),
        ({"starting_point": 1}, "starting_point 1"),
        ({"starting_point": Other.A}, "Other.A"),
        ({"starting_point": []}, "starting_point"),
        ({"starting_point": "A"}, "starting_point 'A'"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_each_wrong_argument_of_build_is_named(arguments: dict[str, Any], part: str) -> None:
    assert part in one_problem(started(), **arguments)


@pytest.mark.parametrize("name", ["", "  ", None, 5, "a\0b", "\ud800", "x" * 256], ids=ascii)
def test_a_workflow_needs_a_name_that_can_be_kept(name: Any) -> None:
    assert "name" in one_problem(started(name))


@pytest.mark.parametrize(
    "object_type", [object, Any, int | str, list[object] | None, Callable[[], int], type("Bare", (), {}), "Thing", None]
)
def test_an_object_type_that_json_cannot_carry_is_reported_with_the_rest(object_type: Any) -> None:
    builder = Builder("declared", object_type, Status)
    builder.step(Status.A, to=Status.B)(lambda run: Status.B)
    builder.step(Status.A, to=Status.B)(lambda run: Status.B)
    found = problems(builder)
    assert any("object type" in problem for problem in found), found
    assert any("only one step" in problem for problem in found), found


@pytest.mark.parametrize("status_type", [Colour, int, [1, 2], None], ids=repr)
def test_a_status_type_that_is_no_int_enum_is_reported(status_type: Any) -> None:
    builder = Builder("declared", Thing, status_type)
    assert any("not an IntEnum" in problem for problem in problems(builder))


def test_a_status_that_no_store_can_keep_is_reported() -> None:
    """W-55: 64 bits are carried everywhere, more are refused."""

    class Wide(IntEnum):
        FITS = 2**63 - 1
        SMALL = -(2**63)
        TOO_WIDE = 2**63

    builder = Builder("wide", Thing, Wide)
    builder.step(Wide.FITS, to=Wide.SMALL)(lambda run: Wide.SMALL)
    assert "TOO_WIDE" in one_problem(builder)


def test_a_status_that_no_run_can_enter_is_reported() -> None:
    builder = started()
    builder.callback(Status.C)(decides)
    assert "cannot be reached" in one_problem(builder)


def test_a_callback_where_every_run_is_completed_is_reported() -> None:
    """W-46."""
    builder = started()
    builder.callback(Status.B)(decides)
    builder.timeout(Status.B, timedelta(hours=1))(decides)  # type: ignore[arg-type]
    found = problems(builder)
    assert [problem.split(":")[0] for problem in found] == ["callback(<Status.B", "timeout(<Status.B"], found
    assert all("never called" in problem for problem in found)


def test_a_backend_without_its_parts_is_reported_part_by_part() -> None:
    """R-BUILD-10, R-BUILD-11, R-OPT-9: differs from the reference, which accepts them until the workflow runs."""
    nothing: Any = None
    missing = problems(started(), backend=Backend(nothing, nothing, nothing))
    assert [problem.split()[-1] for problem in missing] == ["record_store", "event_streamer", "role_scheduler"]
    memory = MemoryBackend()
    without = Backend(memory.record_store, memory.event_streamer, memory.role_scheduler)
    started().build(without)
    builder = started()
    builder.timeout(Status.B, timedelta(hours=1), to=Status.C)(expired_to_c)
    assert "timeout_store" in one_problem(builder, backend=without)


def test_a_handler_that_yields_is_reported() -> None:
    def generator(run: R) -> Iterator[Status]:
        yield Status.B

    builder = Builder("declared", Thing, Status)
    builder.step(Status.A, to=Status.B)(generator)  # type: ignore[arg-type]
    assert any("yields" in problem for problem in problems(builder))


def test_connectors_need_names_that_stay_different() -> None:
    """R-BUILD-8, W-41: roles are lower case with "_" for blanks."""
    builder = started()
    for name in ("Feed one", "feed_one"):
        builder.connector(name, MemoryConnector())(lambda wf, event: None)
    assert "need to be unique" in one_problem(builder)


def test_a_schedule_declared_twice_is_reported() -> None:
    builder = started()
    builder.schedule("key", "@hourly")
    builder.schedule("key", "@hourly", timezone="Europe/London")
    builder.schedule("key", "@hourly")
    assert "already exists" in one_problem(builder)


def test_a_builder_that_was_refused_once_may_be_mended_and_built_twice() -> None:
    """R-BUILD-10: a new workflow each time."""
    builder = Builder("declared", Thing, Status)
    problems(builder)
    builder.step(Status.A)(to_b)
    one, two = builder.build(MemoryBackend()), builder.build(MemoryBackend())
    assert one is not two
    assert (one.name, two.name) == ("declared", "declared")


def test_a_type_without_zero_value_may_be_built() -> None:
    builder = Builder("declared", Demanding, Status)
    builder.step(Status.A, to=Status.B)(lambda run: Status.B)
    builder.build(MemoryBackend())


async def test_decorators_give_the_handler_back_as_it_was() -> None:
    """Used as decorators or called: the function, sync or async, can be called directly in a test."""
    builder = Builder("declared", Thing, Status)
    assert builder.step(Status.A)(to_b) is to_b
    assert builder.callback(Status.B, to=Status.C)(called) is called
    assert builder.timeout(Status.B, timedelta(hours=1), to=Status.C)(expired) is expired

    def hook(run: R) -> None: ...

    assert builder.on_pause(hook) is builder.on_cancel(hook) is builder.on_complete(hook) is hook

    def feed(wf: Any, event: Any) -> None: ...

    assert builder.connector("feed", MemoryConnector())(feed) is feed


def test_the_moment_of_a_timer_may_be_fixed() -> None:
    """R-API-9."""
    builder = started()
    builder.timeout(Status.B, datetime(2030, 1, 1, tzinfo=UTC), to=Status.C)(expired_to_c)
    builder.timeout(Status.B, timedelta(0), to=Status.C)(expired_to_c)
    builder.build(MemoryBackend())


def expired_to_c(run: R, now: datetime) -> Status:
    return Status.C


def test_a_handler_without_destinations_and_a_second_step_are_reported_together() -> None:
    """W-46."""
    builder = Builder("w46", Thing, Status)

    async def undeclared(run: Run[Thing, Status]) -> Status:
        return Status.B

    builder.step(Status.A)(undeclared)
    builder.step(Status.B, to=Status.C)(undeclared)
    builder.step(Status.B, to=Status.A)(undeclared)
    with pytest.raises(BuildError) as caught:
        builder.build(MemoryBackend())
    text = "\n".join(caught.value.problems)
    assert "no destinations" in text
    assert "only one step" in text
