"""All faults: those of the table, and those that stand in the files of the newer ports."""

from tests.faults import backlogs, histories, kept_aside, listings, membership, verdicts, wake_ups
from tests.faults.table import FAULTS as TABLE
from tests.faults.table import Fault

FAULTS: tuple[Fault, ...] = (
    *TABLE,
    *verdicts.FAULTS,
    *listings.FAULTS,
    *histories.FAULTS,
    *kept_aside.FAULTS,
    *backlogs.FAULTS,
    *membership.FAULTS,
    *wake_ups.FAULTS,
)
