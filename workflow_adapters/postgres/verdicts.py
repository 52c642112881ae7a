"""What a change met that was not applied: its own earlier attempt, another record, or a row that is held."""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet

from workflow.protocols import ALREADY_APPLIED, BUSY, Change, NewVersion, Outcome, Record, Verdict

from .histories import Histories
from .lookups import Lookups

__all__ = ["judged"]


async def judged(
    changes: Sequence[Change], rolled_back: AbstractSet[str], lookups: Lookups, histories: Histories
) -> Mapping[str, Outcome]:
    """The outcomes of changes that were not applied, by run ID.

    Args:
        changes: the changes.
        rolled_back: run IDs of those that would have been applied but for a held callback that was gone.

    Raises:
        Unavailable: the server cannot be reached.
    """
    versions = [change for change in changes if isinstance(change, NewVersion)]
    attempts = await histories.attempts([(change.run_id, change.record.version) for change in versions])
    present = await lookups.lookup([change.run_id for change in changes])
    wants_key = [change.record for change in versions if _wants_key(change.record, present.get(change.run_id))]
    holders = await lookups.live(wants_key)
    outcomes = {change.run_id: _outcome(change, attempts, present, holders) for change in changes}
    for run_id in rolled_back & outcomes.keys():
        if outcomes[run_id] is BUSY:
            outcomes[run_id] = Outcome(Verdict.CONFLICT, present.get(run_id))
    return outcomes


def _wants_key(new: Record, present: Record | None) -> bool:
    """True if this version takes the foreign ID: it creates the run, or makes a finished one live again."""
    if present is None:
        return new.version == 1
    return new.run_state.live and not present.run_state.live


def _outcome(
    change: Change,
    attempts: Mapping[tuple[str, int], str],
    present: Mapping[str, Record],
    holders: Mapping[tuple[str, str], Record],
) -> Outcome:
    record = present.get(change.run_id)
    if isinstance(change, NewVersion):
        new = change.record
        if new.attempt_id and attempts.get((new.run_id, new.version)) == new.attempt_id:
            return ALREADY_APPLIED
        at_expected_version = new.version == 1 if record is None else _is_base(change, record)
        holder = holders.get((new.workflow_name, new.foreign_id))
        if holder is not None and at_expected_version:
            return Outcome(Verdict.IN_PROGRESS, holder)
    else:
        at_expected_version = record is not None and _is_base(change, record)
    return BUSY if at_expected_version else Outcome(Verdict.CONFLICT, record)


def _is_base(change: Change, record: Record) -> bool:
    """True if this is the version that the change was made from."""
    return record.version == change.expects and change.base_attempt in ("", record.attempt_id)
