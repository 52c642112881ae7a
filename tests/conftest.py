"""How tests meet the table of backends, and a guard against tests that leave tasks or threads behind."""

import asyncio
import inspect
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

import pytest

pytest.register_assert_rewrite("workflow_adapters.conformance", "tests.backends")

from tests.backends import BACKENDS, Entry, MissingService  # noqa: E402 - after the rewrite was arranged
from workflow.protocols import Backend  # noqa: E402
from workflow_adapters.conformance import CASES, Case, Factory  # noqa: E402

NAMES = tuple(entry.name for entry in BACKENDS)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--backends",
        default="",
        metavar="NAME,…",
        help=f"run tests that go over the table of backends only on these; known: {', '.join(NAMES)}",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "backends(*names): run this test on these backends of the table only")
    unknown = set(_chosen(config)) - set(NAMES)
    if unknown:
        raise pytest.UsageError(f"--backends: unknown {', '.join(sorted(unknown))}; known: {', '.join(NAMES)}")


def _chosen(config: pytest.Config) -> tuple[str, ...]:
    return tuple(name for name in str(config.getoption("--backends")).split(",") if name) or NAMES


def pytest_report_header(config: pytest.Config) -> str:
    chosen = _chosen(config)
    left_out = [name for name in NAMES if name not in chosen]
    return f"backends: {', '.join(chosen)}" + (f" (deselected: {', '.join(left_out)})" if left_out else "")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test for each backend of the table, and for each case as well where a test asks for cases."""
    if "backend_entry" not in metafunc.fixturenames:
        return
    marker = metafunc.definition.get_closest_marker("backends")
    entries = [entry for entry in BACKENDS if marker is None or entry.name in marker.args]
    if "case" in metafunc.fixturenames:
        product = [(entry, case) for entry in entries for case in CASES]
        metafunc.parametrize(("backend_entry", "case"), product, ids=[f"{e.name}-{c.name}" for e, c in product])
    else:
        metafunc.parametrize("backend_entry", entries, ids=[entry.name for entry in entries])


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    chosen = _chosen(config)

    def left_out(item: pytest.Item) -> bool:
        callspec = getattr(item, "callspec", None)
        entry = callspec.params.get("backend_entry") if callspec is not None else None
        return isinstance(entry, Entry) and entry.name not in chosen

    gone = [item for item in items if left_out(item)]
    if gone:
        config.hook.pytest_deselected(items=gone)
        items[:] = [item for item in items if not left_out(item)]


@pytest.fixture
async def factory(backend_entry: Entry, tmp_path: Path) -> AsyncIterator[Factory]:
    """Fresh storage of each backend in the table."""
    try:
        made = backend_entry.make(tmp_path)
    except MissingService as missing:
        pytest.fail(str(missing), pytrace=False)
    yield made
    await made.close()


@pytest.fixture
async def backend(factory: Factory) -> AsyncIterator[Backend]:
    """An open backend on fresh, empty storage, for each backend in the table."""
    async with factory.backend() as opened:
        yield opened


@pytest.fixture
def declared(case: Case, factory: Factory, backend_entry: Entry) -> None:
    """Skips a case that the backend declares it cannot run; there is no other reason to skip."""
    missing = case.missing(factory)
    if missing:
        pytest.skip(f"{backend_entry.name} declares that it lacks: {'; '.join(missing)}")


@pytest.fixture(autouse=True)
def _leaves_no_threads(request: pytest.FixtureRequest) -> Iterator[None]:
    before = set(threading.enumerate())
    if inspect.iscoroutinefunction(getattr(request, "function", None)):
        # torn down before this fixture and after every other
        request.getfixturevalue("_leaves_no_tasks")
    yield
    for thread in set(threading.enumerate()) - before:
        thread.join(timeout=2)  # one that was told to end may need a moment
    left = [thread for thread in set(threading.enumerate()) - before if thread.is_alive()]
    if left:
        pytest.fail(f"the test left threads behind: {_names(left)}", pytrace=False)


@pytest.fixture
async def _leaves_no_tasks() -> AsyncIterator[None]:
    before = asyncio.all_tasks()
    yield
    current = asyncio.current_task()
    left = [task for task in asyncio.all_tasks() - before if task is not current and not task.done()]
    if left:
        # One that was cancelled or told to end may need a moment: a thread or a server has a part in it.
        left = list((await asyncio.wait(left, timeout=2))[1])
    for task in left:
        task.cancel()
    if left:
        pytest.fail("the test left tasks behind: " + "; ".join(repr(task) for task in left), pytrace=False)


def _names(threads: Sequence[threading.Thread]) -> str:
    return ", ".join(sorted(f"{thread.name}{' (daemon)' if thread.daemon else ''}" for thread in threads))
