"""The statements that write changes: one for new versions and one for notes, for batches of any size.

The compare-and-swap is in the statement that writes, and is the first write of its transaction. Rows that another
transaction holds are skipped (`skip locked`), rows are locked in run-ID order; an insert may have to wait for an
uncommitted one of the same key, which the lane's lock timeout ends.
"""

from collections.abc import Sequence

from workflow.protocols import Change, NewVersion, Note

from .lane import Lane
from .names import quoted
from .rows import note_columns, version_row
from .server import Connection

__all__ = ["NEW_VERSIONS", "NOTES", "TAKE", "CallbackGone", "ChangeStatements"]

# Versions: creates version 1 where neither run ID nor live foreign ID exists, replaces version n by n + 1, and writes
# history and outbox of what was applied.
NEW_VERSIONS = """
with w as (
    select * from unnest($1::{schema}.new_version[]) with ordinality as t (
        run_id, workflow_name, foreign_id, run_state, status, object, version, created_at, updated_at, due_at, visit,
        entered_at, step_version, attempt, last_error, attempt_id, auto_paused, reason, meta, keep_object, event,
        send_at, base_attempt, place
    )
),
created as (
    insert into {schema}.runs (
        workflow_name, foreign_id, run_id, run_state, status, object, version, created_at, updated_at, due_at, visit,
        entered_at, step_version, attempt, last_error, attempt_id, auto_paused, reason, meta
    )
    select workflow_name, foreign_id, run_id, run_state, status, object, version, created_at, updated_at, due_at,
        visit, entered_at, step_version, attempt, last_error, attempt_id, auto_paused, reason, meta
    from w where version = 1 order by place
    on conflict do nothing
    returning run_id
),
locked as (
    select w.* from w join {schema}.runs r on r.run_id = w.run_id and r.version = w.version - 1
        and (w.base_attempt = '' or w.base_attempt = r.attempt_id)
    where w.version > 1 order by w.run_id for no key update of r skip locked
),
moved as (
    update {schema}.runs r set
        run_state = l.run_state, status = l.status, object = l.object, version = l.version,
        updated_at = l.updated_at, due_at = l.due_at, entered_at = l.entered_at, step_version = l.step_version,
        attempt = l.attempt, last_error = l.last_error, attempt_id = l.attempt_id, auto_paused = l.auto_paused,
        reason = l.reason, meta = l.meta, armed = r.armed and r.visit = l.visit, visit = l.visit,
        skipped = false, started_by = '', swept_at = null
    from locked l where r.run_id = l.run_id and r.version = l.version - 1
    returning r.run_id
),
applied as (select run_id from created union all select run_id from moved),
done as materialized (select w.* from w join applied using (run_id)),
recorded as (
    insert into {schema}.history (
        run_id, version, run_state, status, object, updated_at, due_at, visit, entered_at, step_version, attempt,
        last_error, attempt_id, auto_paused, reason, meta
    )
    select run_id, version, run_state, status, case when keep_object then object else '' end, updated_at, due_at,
        visit, entered_at, step_version, attempt, last_error, attempt_id, auto_paused, reason, meta
    from done
),
announced as (
    insert into {schema}.outbox (workflow_name, due_at, event)
    select workflow_name, send_at, event from done order by place
)
select run_id from applied
"""

# Notes on the present version: marks, one more event, or both. $10: nothing is lost if the server forgets it.
NOTES = """
with w as (
    select * from unnest(
        $1::text[], $2::integer[], $3::boolean[], $4::boolean[], $5::text[], $6::timestamptz[], $7::bytea[],
        $8::timestamptz[], $9::text[]
    ) with ordinality as t (run_id, version, skipped, armed, started_by, swept_at, event, send_at, base_attempt, place)
    where (select set_config(
        'synchronous_commit', case when $10 then 'off' else current_setting('synchronous_commit') end, true
    )) is not null
),
locked as (
    select w.*, r.workflow_name from w join {schema}.runs r on r.run_id = w.run_id and r.version = w.version
        and (w.base_attempt = '' or w.base_attempt = r.attempt_id)
    order by w.run_id for no key update of r skip locked
),
noted as (
    update {schema}.runs r set
        skipped = coalesce(l.skipped, r.skipped), armed = coalesce(l.armed, r.armed),
        started_by = coalesce(l.started_by, r.started_by), swept_at = coalesce(l.swept_at, r.swept_at)
    from locked l where r.run_id = l.run_id and r.version = l.version
        and (l.skipped is not null or l.armed is not null or l.started_by is not null or l.swept_at is not null)
),
announced as (
    insert into {schema}.outbox (workflow_name, due_at, event)
    select workflow_name, send_at, event from locked where event is not null order by place
)
select run_id from locked
"""

# Objects, errors and reasons of all versions before this one. Triggers of both tables erase the notes of versions and
# the reasons of dead letters with it.
_ERASE_HISTORY = """
update {schema}.history h set object = '', last_error = '', reason = ''
from unnest($1::text[], $2::integer[]) as w (run_id, version)
where h.run_id = w.run_id and h.version < w.version
"""
_ERASE_LETTERS = "update {schema}.dead_letters set data = '' where run_id = any($1::text[])"
# Callbacks that are held for these runs alone, without those that the erasing versions take.
_ERASE_HELD = """
delete from {schema}.held_callbacks h
using unnest($1::text[], $2::text[], $3::text[]) as w (run_id, workflow_name, foreign_id)
where h.workflow_name = w.workflow_name and h.foreign_id = w.foreign_id and h.run_id = w.run_id
    and h.taken_at is null and not h.id = any($4::text[])
"""

TAKE = """
update {schema}.held_callbacks set taken_by = $3, taken_at = clock_timestamp(), payload = ''
where workflow_name = $1 and foreign_id = $2 and id = any($4::text[]) and taken_at is null
"""


class CallbackGone(Exception):
    """A held callback that a change takes is not held any more: nothing of the change may stay written."""


class ChangeStatements:
    """Writes changes through any connection; it begins and ends no transaction."""

    def __init__(self, schema: str) -> None:
        name = quoted(schema)
        self._new_versions, self._notes, self._take = (
            sql.replace("{schema}", name) for sql in (NEW_VERSIONS, NOTES, TAKE)
        )
        self._erase_history, self._erase_letters, self._erase_held = (
            sql.replace("{schema}", name) for sql in (_ERASE_HISTORY, _ERASE_LETTERS, _ERASE_HELD)
        )

    async def in_one_statement(self, lane: Lane, versions: Sequence[NewVersion], notes: Sequence[Note]) -> set[str]:
        """Write new versions only, or notes only, as a transaction of one round trip; the run IDs that were applied."""
        if versions:
            rows = await lane.write(self._new_versions, [version_row(change) for change in versions])
        else:
            forgettable = not any(note.event is not None for note in notes)
            rows = await lane.write(self._notes, *note_columns(notes), forgettable)
        return {row[0] for row in rows}

    async def in_transaction(
        self, connection: Connection, versions: Sequence[NewVersion], notes: Sequence[Note]
    ) -> set[str]:
        """Write within the connection's transaction; the run IDs that were applied.

        Changes with `takes` are written by `alone`.
        """
        applied: set[str] = set()
        if versions:
            rows = await connection.fetch(self._new_versions, [version_row(change) for change in versions])
            applied.update(row[0] for row in rows)
        if notes:
            rows = await connection.fetch(self._notes, *note_columns(notes), False)
            applied.update(row[0] for row in rows)
        erasing = [change for change in versions if change.erase and change.run_id in applied]
        if erasing:
            await self._erase(connection, erasing)
        return applied

    async def alone(self, connection: Connection, change: Change) -> bool:
        """Write one change within the connection's transaction or savepoint; True if it was applied.

        Raises:
            CallbackGone: the caller must roll back.
        """
        if not isinstance(change, NewVersion):
            return bool(await self.in_transaction(connection, (), [change]))
        applied = bool(await self.in_transaction(connection, [change], ()))
        if applied and change.takes:
            ids = sorted(set(change.takes))
            record = change.record
            done = await connection.execute(self._take, record.workflow_name, record.foreign_id, record.run_id, ids)
            if done != f"UPDATE {len(ids)}":
                raise CallbackGone
        return applied

    async def _erase(self, connection: Connection, erasing: Sequence[NewVersion]) -> None:
        records = [change.record for change in erasing]
        runs = [record.run_id for record in records]
        await connection.fetch(self._erase_history, runs, [record.version for record in records])
        await connection.fetch(self._erase_letters, runs)
        whose = [record.workflow_name for record in records], [record.foreign_id for record in records]
        await connection.fetch(self._erase_held, runs, *whose, [id_ for change in erasing for id_ in change.takes])
