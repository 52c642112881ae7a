"""The tables of a workflow file, and what later releases add to them.

A version is kept whole, as one encoded blob in the history, which only grows at its end: few pages change with a
commit. The row of a run has the columns that queries and guards need, and its marks; the view `present` joins the two.
Times are microseconds since 1970 in UTC.

Additions only add columns with defaults, tables, triggers and indexes (and drop indexes that newer ones replace), so
that processes of an earlier release go on working on the file, and can open it again. The file keeps how many it has
under `additions` in the table `meta`; `user_version` stays 1, because the first release refuses any other.
"""

__all__ = ["ADDITIONS", "FIRST"]

FIRST = """
create table meta (key text primary key, value integer not null) without rowid;
create table runs (
    seq integer primary key,
    run_id text not null unique,
    workflow_name text not null,
    foreign_id text not null,
    run_state integer not null,
    status integer not null,
    version integer not null,
    visit integer not null,
    created integer not null,
    updated integer not null,
    due integer not null,
    auto_paused integer not null,
    skipped integer not null default 0,
    armed integer not null default 0,
    started_by text not null default '',
    swept integer,
    whole blob -- the present version, where the history has it without the object
);
create unique index runs_live on runs (workflow_name, foreign_id) where run_state in (1, 2, 3);
create index runs_workflow on runs (workflow_name);
create index runs_foreign on runs (workflow_name, foreign_id);
create index runs_state on runs (workflow_name, run_state);
create index runs_owing on runs (workflow_name, status, due) where run_state in (1, 2);
create index runs_deleting on runs (workflow_name, due) where run_state = 7;
create index runs_auto_paused on runs (workflow_name, updated) where run_state = 3 and auto_paused = 1;
create index runs_created on runs (workflow_name, created);
create table history (
    id integer primary key,
    run integer not null,
    version integer not null,
    status integer not null,
    attempt_id text not null,
    data blob not null
);
create index history_run on history (run, version, status);
create view present as
    select runs.*, coalesce(runs.whole, history.data) as data
    from runs cross join history on history.run = runs.seq and history.version = runs.version;
create table outbox (
    id integer primary key autoincrement,
    workflow_name text not null,
    due integer,
    data blob not null
);
create index outbox_now on outbox (workflow_name, id) where due is null;
create index outbox_later on outbox (workflow_name, due, id) where due is not null;
create table dead_letters (
    id integer primary key autoincrement,
    workflow_name text not null,
    run_id text not null,
    data blob not null
);
create index dead_letters_run on dead_letters (run_id);
create table events (
    position integer primary key autoincrement,
    topic text not null,
    partition integer not null,
    created integer not null,
    data blob not null
);
create index events_topic on events (topic, partition, position);
create table cursors (
    topic text not null,
    name text not null,
    partition integer not null,
    position integer not null,
    primary key (topic, name, partition)
) without rowid;
create table timeouts (
    id text primary key,
    workflow_name text not null,
    status integer not null,
    run_id text not null,
    due integer not null,
    completed integer not null,
    data blob not null
) without rowid;
create index timeouts_due on timeouts (workflow_name, status, due) where completed = 0;
create index timeouts_run on timeouts (workflow_name, run_id);
create table roles (
    role text primary key,
    holder text not null,
    token integer not null,
    expires integer not null,
    lease integer not null
) without rowid;
create table members (
    member text primary key,
    joined integer not null,
    expires integer not null,
    lease integer not null,
    groups text not null
) without rowid;
"""
"""The tables of the first release; never edited."""

_ROLES = (
    "alter table members add column roles text not null default '[]'",  # JSON: the group of each role it wants
    "alter table members add column identity text not null default ''",  # JSON; empty in a row of the first release
    "alter table roles add column last_holder text not null default ''",
    # A trigger, because the first release writes only `holder`.
    """
    create trigger roles_released after update of holder on roles when new.holder = '' and old.holder <> ''
    begin
        update roles set last_holder = old.holder where role = new.role;
    end
    """,
)

# No index of a listing changes with a step: one that holds the status of live runs would cost every version a fifth.
# Live states are below 4. Comparisons, because SQLite judges the condition of each partial index for every version, and
# a list takes it three times as long.
_LISTINGS = (
    # The version at which the run was failing: a version that the first release writes is not taken for it.
    "alter table runs add column failing integer",
    # Live runs in order of creation, and apart those that wait for a worker or are paused.
    "create index runs_alive on runs (workflow_name, created) where run_state < 4",
    "create index runs_initiated on runs (workflow_name, created, seq, status) where run_state = 1",
    "create index runs_paused on runs (workflow_name, created, seq, status) where run_state = 3",
    # Finished runs. The columns at the end let filters be judged, and rows be sorted, without a look at the table.
    """
    create index runs_done on runs (workflow_name, status, run_state, created, seq, updated)
    where +run_state > 3 -- the plus keeps this from being taken for the range to search
    """,
    """
    create index runs_ended on runs (workflow_name, updated, created, status, run_state)
    where +run_state > 3
    """,
    """
    create index runs_failing on runs (workflow_name, status, run_state, created, failing, version)
    where failing = version
    """,
    "drop index runs_workflow",
    "drop index runs_state",
    "create index timeouts_listed on timeouts (workflow_name, completed, status, due)",
    "drop index timeouts_due",
    "create index dead_letters_workflow on dead_letters (workflow_name, run_id)",
    "create index dead_letters_listed on dead_letters (workflow_name)",
)

_HELD_CALLBACKS = (
    """
    create table held_callbacks (
        number integer primary key autoincrement,
        workflow_name text not null,
        foreign_id text not null,
        id text not null,
        status integer not null,
        expires integer not null,
        taken integer, -- when it was taken, by the machine's clock
        data blob not null,
        unique (workflow_name, foreign_id, id)
    )
    """,
    "create index held_wanted on held_callbacks (workflow_name, foreign_id, status) where taken is null",
    "create index held_listed on held_callbacks (workflow_name) where taken is null",
    "create index held_expiring on held_callbacks (workflow_name, expires) where taken is null",
    "create index held_taken on held_callbacks (taken) where taken is not null",
)

_CATALOG = (
    """
    create table catalog (
        workflow_name text not null,
        fingerprint text not null,
        first integer not null,
        last integer not null,
        info blob not null,
        primary key (workflow_name, fingerprint)
    ) without rowid
    """,
)

# The event at a cursor's position, so that a cursor of a log that was numbered anew is recognised. A release that does
# not know these columns leaves them behind, with a position that is not the cursor's.
_ANCHORS = (
    "alter table cursors add column anchor_position integer",
    "alter table cursors add column anchor blob",
)

_MEMOS = (
    """
    create table memos (
        workflow_name text not null,
        key text not null,
        text text not null,
        primary key (workflow_name, key)
    ) without rowid
    """,
)

ADDITIONS = (_ROLES, _LISTINGS, _HELD_CALLBACKS, _CATALOG, _ANCHORS, _MEMOS)
"""What later releases added, in order. One that was released is never edited."""
