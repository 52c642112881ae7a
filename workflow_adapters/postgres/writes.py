"""The statements that write runs: one for moves, one for marks and emissions, whatever the size of the batch.

The compare-and-swap is in the statement that writes, and is the first write of its transaction. Rows held by somebody
else are skipped (`skip locked`), rows are locked in run-ID order; an insert may have to wait for a doubtful one of the
same key, which the lane's lock timeout ends.
"""

from collections.abc import Mapping, Sequence

from workflow.protocols import Emit, Mark, NewVersion

from .connections import Connection, Lane
from .names import quoted
from .rows import move_row, note_columns

__all__ = ["Writes"]

# Versions: creates version 1 where neither run ID nor live foreign ID exists, replaces version n by n + 1, and writes
# history and outbox of what was applied.
_MOVES = """
with w as (
    select * from unnest($1::{schema}.move[]) with ordinality as t (
        run_id, workflow_name, foreign_id, run_state, status, object, version, created_at, updated_at, due_at, visit,
        entered_at, step_version, attempt, last_error, attempt_id, auto_paused, reason, meta, keep_object, event,
        send_at, place
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

# Notes on the present version, and events of it. $9: nothing is lost if the server forgets it in a crash.
_NOTES = """
with w as (
    select * from unnest(
        $1::text[], $2::integer[], $3::boolean[], $4::boolean[], $5::text[], $6::timestamptz[], $7::bytea[],
        $8::timestamptz[]
    ) with ordinality as t (run_id, version, skipped, armed, started_by, swept_at, event, send_at, place)
    where (select set_config(
        'synchronous_commit', case when $9 then 'off' else current_setting('synchronous_commit') end, true
    )) is not null
),
locked as (
    select w.*, r.workflow_name from w join {schema}.runs r on r.run_id = w.run_id and r.version = w.version
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

# Objects, errors and reasons of all versions before this one.
_ERASE_HISTORY = """
update {schema}.history h set object = '', last_error = '', reason = ''
from unnest($1::text[], $2::integer[]) as w (run_id, version)
where h.run_id = w.run_id and h.version < w.version
"""
_ERASE_LETTERS = "update {schema}.dead_letters set data = '' where run_id = any($1::text[])"


class Writes:
    """Writes changes through any connection; knows nothing of transactions but what it is given."""

    def __init__(self, schema: str) -> None:
        name = quoted(schema)
        self._moves = _MOVES.replace("{schema}", name)
        self._notes = _NOTES.replace("{schema}", name)
        self._erase_history = _ERASE_HISTORY.replace("{schema}", name)
        self._erase_letters = _ERASE_LETTERS.replace("{schema}", name)

    async def in_one_statement(self, lane: Lane, moves: Sequence[NewVersion], notes: Sequence[Mark | Emit]) -> set[str]:
        """Write moves only, or notes only, as a transaction of one round trip; the run IDs that were applied."""
        if moves:
            rows = await lane.write(self._moves, [move_row(move) for move in moves])
        else:
            forgettable = not any(isinstance(note, Emit) for note in notes)
            rows = await lane.write(self._notes, *note_columns(notes), forgettable)
        return {row[0] for row in rows}

    async def in_transaction(
        self, connection: Connection, moves: Sequence[NewVersion], notes: Sequence[Mark | Emit]
    ) -> set[str]:
        """Write within the connection's transaction; the run IDs that were applied."""
        applied: set[str] = set()
        if moves:
            rows = await connection.fetch(self._moves, [move_row(move) for move in moves])
            applied.update(row[0] for row in rows)
        if notes:
            applied.update(row[0] for row in await connection.fetch(self._notes, *note_columns(notes), False))
        erased = {move.run_id: move.record.version for move in moves if move.erase and move.run_id in applied}
        if erased:
            await self._erase(connection, erased)
        return applied

    async def _erase(self, connection: Connection, erased: Mapping[str, int]) -> None:
        await connection.fetch(self._erase_history, list(erased), list(erased.values()))
        await connection.fetch(self._erase_letters, list(erased))
