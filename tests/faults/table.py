"""The table of faults: each stands beside what it is made of, with the cases that must notice it."""

from tests.faults import (
    backlogs,
    events,
    histories,
    kept_aside,
    listings,
    membership,
    questions,
    records,
    roles,
    timeouts,
    verdicts,
    wake_ups,
)
from tests.faults.fault import Fault

FAULTS: tuple[Fault, ...] = (
    *records.FAULTS,
    *verdicts.FAULTS,
    *questions.FAULTS,
    *listings.FAULTS,
    *histories.FAULTS,
    *kept_aside.FAULTS,
    *events.FAULTS,
    *backlogs.FAULTS,
    *roles.FAULTS,
    *membership.FAULTS,
    *timeouts.FAULTS,
    *wake_ups.FAULTS,
)
