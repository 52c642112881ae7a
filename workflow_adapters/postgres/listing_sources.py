# ruff: noqa: S608 - every text that is put together here is a constant of this file, or a parameter
"""Where a listing of runs reads its rows: one source for each kind of question, each served by an index.

No index holds all runs in order of creation: it would cost every version of every run. `runs_listed` holds them so
within each group, that is within each workflow, status and run state. There are few groups, so their first rows are
merged. Questions for something rare (foreign IDs, a prefix, a time of the last change, failing runs) read all rows that
have it.

`offset 0` keeps the planner from reading all workflows at once.

A source is a query for the columns `name`, `at`, `state` (the group of a run), `created_at` and `seq` of its runs.
A filter that is not asked for must not be in the text: with it, one plan for all questions could use no index.
"""

from collections.abc import Sequence
from typing import Any

from workflow.protocols import LIVE, RecordFilter

__all__ = [
    "Arguments",
    "Part",
    "conditions",
    "counted",
    "failing",
    "merged",
    "named",
    "of_foreign_ids",
    "prelude",
    "updated",
]


class Arguments:
    """The arguments of a statement, numbered as they are added.

    Attributes:
        values: the arguments.
    """

    def __init__(self) -> None:
        self.values: list[Any] = []

    def add(self, value: object, type_: str) -> str:
        """The parameter that stands for this value."""
        self.values.append(value)
        return f"${len(self.values)}::{type_}"


class Part:
    """The part of the matching rows that a page needs, as text.

    Attributes:
        where: what the query asks of a row `r`, but for its workflow; and that it is behind the cursor.
        first: how to order the rows of a group and how many of them to read; empty for all, in any order.
    """

    def __init__(self, where: str, first: str = "") -> None:
        self.where, self.first = where, first


_FEW_NAMES = 2_000
"""Live runs with a prefix that are looked up one by one."""

_KEY = "r.workflow_name as name, r.status as at, r.run_state as state, r.created_at, r.seq"

_NAMES = """names (name) as (
    (select workflow_name from {schema}.runs order by workflow_name limit 1)
    union all
    select (select workflow_name from {schema}.runs where workflow_name > name order by workflow_name limit 1)
    from names where name is not null
)"""

_GROUPS = """groups (name, at, state) as (
    select n.name, f.status, f.run_state from names as n cross join lateral (
        select status, run_state from {schema}.runs where workflow_name = n.name order by status, run_state limit 1
    ) as f
    union all
    select g.name, f.status, f.run_state from groups as g cross join lateral (
        select status, run_state from {schema}.runs
        where workflow_name = g.name and (status, run_state) > (g.at, g.state) order by status, run_state limit 1
    ) as f
)"""


def prelude(query: RecordFilter, args: Arguments) -> str:
    """The start of a statement: `names`, the workflows that are asked for, and `groups`, all groups of them.

    For `named` also `live_names`: the foreign IDs with the prefix that a live run holds, or the first of them. The
    index of live runs is read from end to end for them.
    """
    start = _NAMES
    if query.workflow_name is not None:
        start = f"names (name) as (select {args.add(query.workflow_name, 'text')})"
    start = f"with recursive {start}, {_GROUPS}"
    if not query.foreign_id_prefix:
        return start
    return f"""{start}, live_names (name, key) as materialized (
    select n.name, l.foreign_id from names as n cross join lateral (
        select foreign_id from {{schema}}.runs where workflow_name = n.name and run_state in (1, 2, 3)
            and foreign_id ^@ {args.add(query.foreign_id_prefix, "text")}
        offset 0
    ) as l limit {_FEW_NAMES + 1}
)"""


def of_foreign_ids(query: RecordFilter, args: Arguments, part: Part) -> str:
    """All rows of these foreign IDs."""
    wanted = args.add(sorted(set(query.foreign_ids)), "text[]")
    return f"""select {_KEY} from names as n cross join unnest({wanted}) as k (key) cross join lateral (
        select * from {{schema}}.runs r where r.workflow_name = n.name and r.foreign_id = k.key and {part.where}
        offset 0
    ) as r"""


def failing(part: Part) -> str:
    """All rows that are failing; `part.where` says so."""
    return f"""select {_KEY} from names as n cross join lateral (
        select * from {{schema}}.runs r where r.workflow_name = n.name and {part.where} offset 0
    ) as r"""


def merged(query: RecordFilter, args: Arguments, part: Part, *, live: bool = False) -> str:
    """The first rows of each group that is asked for, or only of the groups of live runs."""
    chosen = ["true"]
    if query.statuses:
        chosen.append(f"g.at = any({args.add(query.statuses, 'bigint[]')})")
    if query.run_states:
        chosen.append(f"g.state = any({args.add([int(state) for state in query.run_states], 'smallint[]')})")
    if live:
        chosen.append(f"g.state = any({args.add([int(state) for state in LIVE], 'smallint[]')})")
    return f"""select g.name, g.at, g.state, r.created_at, r.seq from groups as g cross join lateral (
        select r.created_at, r.seq from {{schema}}.runs r
        where r.workflow_name = g.name and r.status = g.at and r.run_state = g.state and {part.where} {part.first}
    ) as r where {" and ".join(chosen)}"""


def updated(query: RecordFilter, args: Arguments, part: Part) -> str:
    """All rows that ended in this time, and the first ones of each group of live runs."""
    return f"""select {_KEY} from names as n cross join lateral (
        select * from {{schema}}.runs r where r.workflow_name = n.name and {_ended_in_time(query, args)}
            and {part.where} offset 0
    ) as r
    union all {merged(query, args, part, live=True)}"""


def named(query: RecordFilter, args: Arguments, part: Part) -> str:
    """All rows with this prefix that ended; of the live ones all if they are few, else the first of each group."""
    few = f"(select count(*) from live_names) <= {_FEW_NAMES}"
    return f"""select {_KEY} from names as n cross join lateral (
        select * from {{schema}}.runs r where r.workflow_name = n.name and {_ended_with_prefix(query, args)}
            and {part.where} offset 0
    ) as r
    union all
    select {_KEY} from live_names as l cross join lateral (
        select * from {{schema}}.runs r
        where r.workflow_name = l.name and r.foreign_id = l.key and r.run_state in (1, 2, 3) and {part.where}
        offset 0
    ) as r where {few}
    union all {merged(query, args, part, live=True)} and not {few}"""


def counted(query: RecordFilter, args: Arguments, most: int) -> str:
    """How many runs have ended with this prefix, or in this time; counted up to `most`."""
    rare = _ended_with_prefix(query, args) if query.foreign_id_prefix else _ended_in_time(query, args)
    return f"""select count(*) from (select from names as n cross join lateral (
        select from {{schema}}.runs r where r.workflow_name = n.name and {rare} offset 0
    ) as r limit {args.add(most, "bigint")}) as counted"""


def _ended_in_time(query: RecordFilter, args: Arguments) -> str:
    found = ["r.run_state not in (1, 2, 3)"]
    if query.updated_after:
        found.append(f"r.updated_at > {args.add(query.updated_after, 'timestamptz')}")
    if query.updated_before:
        found.append(f"r.updated_at < {args.add(query.updated_before, 'timestamptz')}")
    return " and ".join(found)


def _ended_with_prefix(query: RecordFilter, args: Arguments) -> str:
    found = f"r.run_state not in (1, 2, 3) and r.foreign_id ~>=~ {args.add(query.foreign_id_prefix, 'text')}"
    if end := _after_prefix(query.foreign_id_prefix):
        found += f" and r.foreign_id ~<~ {args.add(end, 'text')}"
    return found


def _after_prefix(prefix: str) -> str:
    """The first text after all those that begin with the prefix, byte by byte; empty if there is none."""
    stem = prefix.rstrip("\U0010ffff")
    if not stem:
        return ""
    following = ord(stem[-1]) + 1
    return stem[:-1] + chr(0xE000 if following == 0xD800 else following)


def conditions(query: RecordFilter, args: Arguments) -> str:
    """What the query asks of a row `r`, but for its workflow."""
    found = ["true"]
    states: Sequence[int] = [int(state) for state in query.run_states]
    for text, type_, value in (
        ("r.foreign_id = any({})", "text[]", query.foreign_ids),
        ("r.foreign_id ^@ {}", "text", query.foreign_id_prefix),
        ("r.status = any({})", "bigint[]", query.statuses),
        ("r.run_state = any({})", "smallint[]", states),
        ("r.created_at > {}", "timestamptz", query.created_after),
        ("r.created_at < {}", "timestamptz", query.created_before),
        ("r.updated_at > {}", "timestamptz", query.updated_after),
        ("r.updated_at < {}", "timestamptz", query.updated_before),
    ):
        if value:
            found.append(text.format(args.add(value, type_)))
    if query.failing:
        found.append("r.attempt > 1")
    return " and ".join(found)
