"""The migrations of the first release: never edited, because databases have applied them.

Decisions that bind the tables:

- `runs` is rewritten by every move, so it has few indexes and leaves room in its pages (fillfactor); moves are never
  HOT updates, because the sweeper's index holds `due_at`.
- The outbox is a delete-queue: nothing reads it behind a cursor, so a row that is committed late is never skipped.
- `outbox.event` and `events.event` hold the event as JSON: one column is the cheapest to write in bulk, JSON can be
  read by a person, and a newer release may add a field.
- `events.position` is assigned under an advisory lock held until the commit: order equals visibility.
- Autovacuum looks at the churning tables by count, not by share: a queue that is empty most of the time has no share.
"""

__all__ = ["FIRST_TABLES", "MOVE_TYPE", "OLDEST_RELEASE"]

FIRST_TABLES = """
create table {schema}.runs (
    run_id text primary key,
    seq bigint not null generated always as identity,
    workflow_name text not null,
    foreign_id text not null,
    run_state smallint not null,
    status bigint not null,
    object bytea not null,
    version integer not null,
    created_at timestamptz not null,
    updated_at timestamptz not null,
    due_at timestamptz not null,
    visit integer not null,
    entered_at timestamptz not null,
    step_version integer not null,
    attempt integer not null,
    last_error text not null,
    attempt_id text not null,
    auto_paused boolean not null,
    skipped boolean not null default false,
    armed boolean not null default false,
    started_by text not null default '',
    swept_at timestamptz,
    reason text not null,
    meta bytea not null
) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.05);
-- at most one live run per workflow and foreign ID: initiated, running, paused
create unique index runs_live on {schema}.runs (workflow_name, foreign_id) where run_state in (1, 2, 3);
create index runs_latest on {schema}.runs (workflow_name, foreign_id, seq);
create index runs_created on {schema}.runs (workflow_name, seq);
-- what the sweeper may have to emit again: initiated and running, and data deletion requested
create index runs_owing on {schema}.runs (workflow_name, status, skipped, armed, due_at) where run_state in (1, 2);
create index runs_to_erase on {schema}.runs (workflow_name, due_at) where run_state = 7;
create index runs_auto_paused on {schema}.runs (workflow_name, updated_at) where run_state = 3 and auto_paused;
-- what retention may remove: cancelled, completed, data deleted
create index runs_finished on {schema}.runs (updated_at) where run_state in (4, 5, 6);

create table {schema}.history (
    run_id text not null,
    version integer not null,
    run_state smallint not null,
    status bigint not null,
    object bytea not null,
    updated_at timestamptz not null,
    due_at timestamptz not null,
    visit integer not null,
    entered_at timestamptz not null,
    step_version integer not null,
    attempt integer not null,
    last_error text not null,
    attempt_id text not null,
    auto_paused boolean not null,
    reason text not null,
    meta bytea not null,
    primary key (run_id, version)
) with (autovacuum_vacuum_insert_scale_factor = 0.05);

create table {schema}.outbox (
    id bigint generated always as identity primary key,
    workflow_name text not null,
    due_at timestamptz,
    event bytea not null
) with (
    autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000,
    autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 50000, autovacuum_vacuum_cost_delay = 0
);
create index outbox_ready on {schema}.outbox (workflow_name, id) where due_at is null;
create index outbox_delayed on {schema}.outbox (workflow_name, due_at, id) where due_at is not null;

create table {schema}.dead_letters (
    id bigint generated always as identity primary key,
    workflow_name text not null,
    source text not null,
    run_id text not null,
    data bytea not null,
    reason text not null,
    created_at timestamptz not null
);
create index dead_letters_workflow on {schema}.dead_letters (workflow_name, id);
create index dead_letters_run on {schema}.dead_letters (run_id);

create table {schema}.settings (
    single boolean primary key default true check (single),
    partitions integer not null
);

create table {schema}.events (
    position bigint generated always as identity primary key,
    topic text not null,
    partition smallint not null,
    sent_at timestamptz not null default now(),
    event bytea not null
) with (autovacuum_vacuum_insert_scale_factor = 0.1, autovacuum_vacuum_scale_factor = 0.05);
create index events_partition on {schema}.events (topic, partition, position);

create table {schema}.cursors (
    topic text not null,
    consumer text not null,
    partition smallint not null,
    position bigint not null,
    updated_at timestamptz not null default now(),
    primary key (topic, consumer, partition)
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

create table {schema}.timeouts (
    id text primary key,
    workflow_name text not null,
    foreign_id text not null,
    run_id text not null,
    status bigint not null,
    visit integer not null,
    timer integer not null,
    expire_at timestamptz not null,
    due_at timestamptz not null,
    created_at timestamptz not null,
    completed boolean not null,
    attempt integer not null,
    last_error text not null,
    claims integer not null
) with (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02);
create index timeouts_due on {schema}.timeouts (workflow_name, due_at, id) where not completed;
create index timeouts_run on {schema}.timeouts (run_id);

-- A lease or membership that claims to last longer than its own lease time is void: the clock was set back.
create table {schema}.members (
    process text primary key,
    roles text[] not null,
    groups text[] not null,
    joined_at timestamptz not null,
    expires_at timestamptz not null,
    lease_time interval not null
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

create table {schema}.leases (
    role text primary key,
    holder text not null,
    token bigint not null,
    expires_at timestamptz not null,
    lease_time interval not null
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

-- For people: bytes that are JSON as jsonb, null for any others.
create function {schema}.as_json(data bytea) returns jsonb language plpgsql immutable as $$
begin
    return convert_from(data, 'UTF8')::jsonb;
exception when others then
    return null;
end $$;

create view {schema}.readable_runs as
select workflow_name, foreign_id, run_id,
    (array['unknown', 'initiated', 'running', 'paused', 'cancelled', 'completed', 'data deleted',
           'requested data deleted'])[run_state + 1] as run_state,
    status, coalesce({schema}.as_json(meta) ->> 'status_description', '') as status_description,
    {schema}.as_json(object) as object, version, attempt, last_error, reason, created_at, updated_at, due_at,
    auto_paused, skipped, armed, started_by, swept_at, {schema}.as_json(meta) as meta, seq
from {schema}.runs;

create view {schema}.readable_history as
select run_id, version,
    (array['unknown', 'initiated', 'running', 'paused', 'cancelled', 'completed', 'data deleted',
           'requested data deleted'])[run_state + 1] as run_state,
    status, coalesce({schema}.as_json(meta) ->> 'status_description', '') as status_description,
    {schema}.as_json(object) as object, attempt, last_error, reason, updated_at, due_at
from {schema}.history;

create view {schema}.readable_outbox as
select id, workflow_name, due_at, {schema}.as_json(event) as event from {schema}.outbox;
"""

OLDEST_RELEASE = """
alter table {schema}.migrations add column oldest integer not null default 0;
"""


# One parameter of the statement that writes versions. Never altered: what a release needs beside is a type of its own.
MOVE_TYPE = """
create type {schema}.move as (
    run_id text,
    workflow_name text,
    foreign_id text,
    run_state smallint,
    status bigint,
    object bytea,
    version integer,
    created_at timestamptz,
    updated_at timestamptz,
    due_at timestamptz,
    visit integer,
    entered_at timestamptz,
    step_version integer,
    attempt integer,
    last_error text,
    attempt_id text,
    auto_paused boolean,
    reason text,
    meta bytea,
    keep_object boolean,
    event bytea,
    send_at timestamptz
);
"""
