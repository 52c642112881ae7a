"""Streams that answer wrongly how far consumers are behind."""

from collections.abc import Mapping, Sequence

import msgspec

from tests.faults import Wrapper
from tests.faults.fault import Fault, fault
from workflow.protocols import Backlog

Pair = tuple[str, str]


class ForgetsConsumersWithoutABacklog(Wrapper):
    """Leaves out the consumers that have read everything."""

    async def backlog(self, consumers: Sequence[Pair]) -> Mapping[Pair, Backlog]:
        return {pair: found for pair, found in (await self.real.backlog(consumers)).items() if found.events}


class OneBacklogForAllNames(Wrapper):
    """Answers for the first name of each topic."""

    async def backlog(self, consumers: Sequence[Pair]) -> Mapping[Pair, Backlog]:
        names: dict[str, str] = {}
        for topic, name in consumers:
            names.setdefault(topic, name)
        found = await self.real.backlog(list(names.items()))
        return {(topic, name): found[topic, names[topic]] for topic, name in consumers}


class StopsCountingAtAHundred(Wrapper):
    """Counts a page and no further."""

    async def backlog(self, consumers: Sequence[Pair]) -> Mapping[Pair, Backlog]:
        found = await self.real.backlog(consumers)
        return {pair: msgspec.structs.replace(one, events=min(one.events, 100)) for pair, one in found.items()}


class NamesNoOldest(Wrapper):
    """Counts, and does not look at the events."""

    async def backlog(self, consumers: Sequence[Pair]) -> Mapping[Pair, Backlog]:
        found = await self.real.backlog(consumers)
        return {pair: msgspec.structs.replace(one, oldest=None) for pair, one in found.items()}


FAULTS: tuple[Fault, ...] = (
    fault(
        "event_streamer",
        ForgetsConsumersWithoutABacklog,
        "an_acknowledgement_is_written_within_a_moment_without_closing",
        "the_lag_is_the_time_of_the_oldest_event_not_acknowledged",
        "the_lag_is_the_oldest_of_all_partitions",
        "a_backlog_is_the_number_and_the_oldest_of_the_events_not_acknowledged",
        "the_backlogs_of_many_consumers_come_in_one_answer",
        "a_backlog_stops_counting_at_ten_thousand_at_the_earliest",
    ),
    fault(
        "event_streamer",
        OneBacklogForAllNames,
        "the_backlogs_of_many_consumers_come_in_one_answer",
        "a_backlog_is_the_same_for_every_process",
    ),
    fault(
        "event_streamer",
        StopsCountingAtAHundred,
        "a_backlog_stops_counting_at_ten_thousand_at_the_earliest",
    ),
    fault(
        "event_streamer",
        NamesNoOldest,
        "the_lag_is_the_time_of_the_oldest_event_not_acknowledged",
        "the_lag_is_the_oldest_of_all_partitions",
        "a_backlog_is_the_number_and_the_oldest_of_the_events_not_acknowledged",
        "the_backlogs_of_many_consumers_come_in_one_answer",
        "a_backlog_is_over_all_partitions_of_its_topic",
        "a_backlog_stops_counting_at_ten_thousand_at_the_earliest",
        "a_backlog_is_the_same_for_every_process",
    ),
)
