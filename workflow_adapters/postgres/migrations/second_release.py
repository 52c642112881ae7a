"""The migrations of the second release. They only add, so that processes of the first go on working; one index goes.

Two triggers stand in for columns that the first release does not know:

- The cause, actor and reason of a version are in `meta` (`cause`, `actor`, `note`), which every release writes whole
  with each version: so they never speak of an older version than the row does. Erasing must clear the note in the
  history, whichever release erases; the trigger on `history` sees to that, and the one on `dead_letters` to the reason.
  Rows of both are updated by nothing but erasing, so no other write pays for it.
- `leases.last_holder` is kept by a trigger, because the first release writes only `holder`.
"""

__all__ = ["CATALOG", "CAUSES", "HELD_CALLBACKS", "LISTINGS", "MEMBERS", "MEMOS", "TIMERS", "VERSION_TYPE"]

CAUSES = """
create function {schema}.without_note(meta bytea) returns bytea language sql immutable as $$
    select coalesce(convert_to(({schema}.as_json(meta) - 'note')::text, 'UTF8'), '{}'::bytea)
$$;
create function {schema}.erase_note() returns trigger language plpgsql as $$
begin
    new.meta := {schema}.without_note(new.meta);
    return new;
end $$;
create trigger erase_note before update of reason on {schema}.history
    for each row when (new.reason = '' and new.object = '') execute function {schema}.erase_note();
create function {schema}.erase_reason() returns trigger language plpgsql as $$
begin
    new.reason := '';
    return new;
end $$;
create trigger erase_reason before update of data on {schema}.dead_letters
    for each row when (new.data = '') execute function {schema}.erase_reason();

create or replace view {schema}.readable_runs as
select workflow_name, foreign_id, run_id,
    (array['unknown', 'initiated', 'running', 'paused', 'cancelled', 'completed', 'data deleted',
           'requested data deleted'])[run_state + 1] as run_state,
    status, coalesce({schema}.as_json(meta) ->> 'status_description', '') as status_description,
    {schema}.as_json(object) as object, version, attempt, last_error, reason, created_at, updated_at, due_at,
    auto_paused, skipped, armed, started_by, swept_at, {schema}.as_json(meta) as meta, seq,
    coalesce({schema}.as_json(meta) ->> 'cause', '') as cause,
    coalesce({schema}.as_json(meta) ->> 'actor', '') as actor,
    coalesce({schema}.as_json(meta) ->> 'note', '') as note
from {schema}.runs;

create or replace view {schema}.readable_history as
select run_id, version,
    (array['unknown', 'initiated', 'running', 'paused', 'cancelled', 'completed', 'data deleted',
           'requested data deleted'])[run_state + 1] as run_state,
    status, coalesce({schema}.as_json(meta) ->> 'status_description', '') as status_description,
    {schema}.as_json(object) as object, attempt, last_error, reason, updated_at, due_at,
    coalesce({schema}.as_json(meta) ->> 'cause', '') as cause,
    coalesce({schema}.as_json(meta) ->> 'actor', '') as actor,
    coalesce({schema}.as_json(meta) ->> 'note', '') as note
from {schema}.history;
"""

MEMBERS = """
alter table {schema}.members
    add column host text not null default '',
    add column pid integer not null default 0,
    add column release text not null default '',
    add column started_at timestamptz;
alter table {schema}.leases add column last_holder text not null default '';
create function {schema}.keep_last_holder() returns trigger language plpgsql as $$
begin
    new.last_holder := old.holder;
    return new;
end $$;
create trigger keep_last_holder before update of holder on {schema}.leases
    for each row when (new.holder = '' and old.holder <> '') execute function {schema}.keep_last_holder();
"""

# A callback that was taken stays for a day without its payload, so that its id is not delivered again.
HELD_CALLBACKS = """
create table {schema}.held_callbacks (
    seq bigint generated always as identity primary key,
    workflow_name text not null,
    foreign_id text not null,
    id text not null,
    run_id text not null,
    status bigint not null,
    payload bytea not null,
    created_at timestamptz not null,
    expires_at timestamptz not null,
    taken_by text not null default '',
    taken_at timestamptz,
    unique (workflow_name, foreign_id, id)
);
create index held_callbacks_wanted on {schema}.held_callbacks (workflow_name, foreign_id, status, created_at, seq)
    where taken_at is null;
create index held_callbacks_listed on {schema}.held_callbacks (workflow_name, created_at, seq) where taken_at is null;
create index held_callbacks_expiring on {schema}.held_callbacks (workflow_name, expires_at, seq)
    where taken_at is null;
create index held_callbacks_taken on {schema}.held_callbacks (taken_at) where taken_at is not null;
"""

CATALOG = """
create table {schema}.catalog (
    workflow_name text not null,
    fingerprint text not null,
    info bytea not null,
    first_at timestamptz not null default clock_timestamp(),
    last_at timestamptz not null default clock_timestamp(),
    primary key (workflow_name, fingerprint)
);
"""

# Counts the statements that created or moved timers: a process that cannot listen sees by it that there may be news.
TIMERS = """
create sequence {schema}.timeouts_written;
"""

# Only `runs_listed` costs anything for every version of a run; it replaces `runs_created`, which did too, and which
# only `list` of the first release used. The others hold rows that change seldom.
LISTINGS = """
drop index {schema}.runs_created;
create index runs_listed on {schema}.runs (workflow_name, status, run_state, created_at, seq) include (updated_at);
create index runs_failing on {schema}.runs (workflow_name, created_at, seq) include (status, run_state)
    where attempt > 1;
create index runs_ended on {schema}.runs (workflow_name, updated_at) include (status, run_state, created_at, seq)
    where run_state not in (1, 2, 3);
create index runs_ended_named on {schema}.runs (workflow_name, foreign_id text_pattern_ops)
    include (status, run_state, created_at, seq) where run_state not in (1, 2, 3);
create index timeouts_completed on {schema}.timeouts (workflow_name, status, due_at, id) where completed;
create index timeouts_status on {schema}.timeouts (workflow_name, status, due_at, id) where not completed;
create index dead_letters_of_run on {schema}.dead_letters (workflow_name, run_id, id);
"""

# `move` of the first release, and the attempt that wrote the version before.
VERSION_TYPE = """
create type {schema}.new_version as (
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
    send_at timestamptz,
    base_attempt text
);
"""

MEMOS = """
create table {schema}.memos (
    workflow_name text not null,
    key text not null,
    text text not null,
    primary key (workflow_name, key)
);
"""
