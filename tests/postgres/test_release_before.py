"""Processes of the release before work on the migrated tables: their statements leave nothing wrong or unerased."""

from msgspec.structs import replace

from tests.postgres.database import Database
from workflow.protocols import DeadLetter, DeadLetterQuery, Meta, VersionCause
from workflow_adapters.conformance._values import NOW, WORKFLOW, created, moved, one, put

# As the release before writes: without the columns and fields of this one.
MOVE = """
update {runs} set version = version + 1, attempt_id = 'theirs', reason = '', meta = '{{"status_description":"two"}}'
where run_id = 'run'
"""
ERASE_HISTORY = "update {history} set object = '', last_error = '', reason = '' where run_id = 'run' and version < 3"
ERASE_LETTERS = "update {dead_letters} set data = '' where run_id = 'run'"
RELEASE = "update {leases} set holder = '', expires_at = clock_timestamp() where role = 'role'"

SAID = Meta(
    run_state_reason="state",
    status_description="one",
    trace_context={"traceparent": "00"},
    cause=VersionCause.EDIT,
    actor="an operator",
    reason="because of a complaint",
)


async def _as_before(database: Database, sql: str) -> None:
    names = ("runs", "history", "dead_letters", "leases")
    await database.beside.execute(sql.format(**{name: database.table(name) for name in names}))


async def test_their_version_has_no_cause_actor_or_reason_of_ours(database: Database) -> None:
    async with database.backend() as backend:
        first = created("run")
        await put(backend.record_store, replace(first, record=replace(first.record, meta=SAID)))
        assert (await one(backend.record_store, "run")).meta == SAID
        await _as_before(database, MOVE)
        assert (await one(backend.record_store, "run")).meta == Meta(status_description="two")


async def test_their_erasing_also_erases_our_reasons(database: Database) -> None:
    async with database.backend() as backend:
        store = backend.record_store
        first = created("run")
        await put(store, replace(first, record=replace(first.record, meta=SAID)))
        second = moved(first.record)
        await put(store, replace(second, record=replace(second.record, meta=SAID)))
        letter = DeadLetter(
            workflow_name=WORKFLOW, source="us", run_id="run", data=b"secret", reason="secret", created_at=NOW
        )
        await store.add_dead_letters([letter, replace(letter, run_id="other")])
        await _as_before(database, ERASE_HISTORY)
        await _as_before(database, ERASE_LETTERS)
        left = replace(SAID, run_state_reason="", reason="")
        assert [version.meta for version in await store.history("run")] == [left, left]
        erased, other = await store.list_dead_letters(DeadLetterQuery(workflow_name=WORKFLOW))
        assert (erased.data, erased.reason) == (b"", "")
        assert (other.data, other.reason) == (b"secret", "secret")


async def test_a_role_that_they_release_has_a_last_holder(database: Database) -> None:
    async with database.backend() as backend:
        async with backend.role_scheduler.hold("role"):
            (holding,) = await backend.role_scheduler.holdings()
            await _as_before(database, RELEASE)
            (released,) = await backend.role_scheduler.holdings()
        assert (released.process, released.token, released.expires_at) == (holding.process, holding.token, None)
