"""Event streamers that are wrong in one way each."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import cast

from tests.faults import Wrapper
from tests.faults.fault import Fault, fault
from workflow.errors import StreamReset
from workflow.protocols import Backlog, Event, EventReceiver, Shard


class _Streamer(Wrapper):
    """Opens receivers wrapped by `wrap`."""

    wrap: type[Wrapper] = Wrapper

    @asynccontextmanager
    async def receiver(
        self, topic: str, name: str, *, shard: Shard, from_latest: bool = False
    ) -> AsyncIterator[EventReceiver]:
        async with self.real.receiver(topic, name, shard=shard, from_latest=from_latest) as receiver:
            yield cast("EventReceiver", self.wrap(receiver))


class _AcksAtOnce(Wrapper):
    async def receive(self, limit: int) -> Sequence[Event]:
        events: Sequence[Event] = await self.real.receive(limit)
        await self.real.ack(events)
        return events


class EarlyAck(_Streamer):
    """Acknowledges what it hands out."""

    wrap = _AcksAtOnce


class _Deaf(Wrapper):
    async def receive(self, limit: int) -> Sequence[Event]:
        try:
            return list(await self.real.receive(limit))
        except StreamReset:
            await asyncio.Event().wait()
            raise


class DeafAfterAReset(_Streamer):
    """Does not say that the stream is another one, and waits for events behind a position that means nothing."""

    wrap = _Deaf


class _NeverAcks(Wrapper):
    async def ack(self, events: Sequence[Event]) -> None:
        pass


class LostAck(_Streamer):
    """Never writes a cursor."""

    wrap = _NeverAcks


class _LosesOnCancel(Wrapper):
    async def receive(self, limit: int) -> Sequence[Event]:
        events: Sequence[Event] = await self.real.receive(limit)
        for _ in range(3):
            await asyncio.sleep(0)  # what it holds is gone when it is cancelled here
        return events


class LosesOnCancel(_Streamer):
    """Takes events out of its buffer before it can hand them over."""

    wrap = _LosesOnCancel


class _Repeats(Wrapper):
    def __init__(self, real: EventReceiver) -> None:
        super().__init__(real)
        self._last: Sequence[Event] = ()

    async def receive(self, limit: int) -> Sequence[Event]:
        if self._last:
            repeated, self._last = self._last[:limit], ()
            return repeated
        self._last = await self.real.receive(limit)
        return self._last


class RepeatsInOneOpening(_Streamer):
    """Hands out every batch twice."""

    wrap = _Repeats


class _Unlimited(Wrapper):
    async def receive(self, limit: int) -> Sequence[Event]:
        events: Sequence[Event] = await self.real.receive(limit + 5)
        return events


class IgnoresTheLimit(_Streamer):
    """Gives more than was asked for."""

    wrap = _Unlimited


class _Backwards(Wrapper):
    async def receive(self, limit: int) -> Sequence[Event]:
        events: Sequence[Event] = await self.real.receive(limit)
        return events[::-1]


class OutOfOrder(_Streamer):
    """Gives each batch backwards."""

    wrap = _Backwards


class OneCursorForAll(Wrapper):
    """Keeps cursors by topic, whatever the name."""

    def receiver(
        self, topic: str, name: str, *, shard: Shard, from_latest: bool = False
    ) -> AbstractAsyncContextManager[EventReceiver]:
        opening: AbstractAsyncContextManager[EventReceiver] = self.real.receiver(
            topic, name and "everybody", shard=shard, from_latest=from_latest
        )
        return opening

    async def backlog(self, consumers: Sequence[tuple[str, str]]) -> Mapping[tuple[str, str], Backlog]:
        found = await self.real.backlog([(topic, "everybody") for topic, _ in consumers])
        return {(topic, name): found[topic, "everybody"] for topic, name in consumers}


class CursorsBelongToShards(Wrapper):
    """Puts the number of shards into the name of the cursor."""

    def receiver(
        self, topic: str, name: str, *, shard: Shard, from_latest: bool = False
    ) -> AbstractAsyncContextManager[EventReceiver]:
        own = name if shard.total == 1 or not name else f"{name}-{shard}"
        opening: AbstractAsyncContextManager[EventReceiver] = self.real.receiver(
            topic, own, shard=shard, from_latest=from_latest
        )
        return opening


class PassingReadersShare(Wrapper):
    """Keeps a cursor for readers without a name."""

    def receiver(
        self, topic: str, name: str, *, shard: Shard, from_latest: bool = False
    ) -> AbstractAsyncContextManager[EventReceiver]:
        opening: AbstractAsyncContextManager[EventReceiver] = self.real.receiver(
            topic, name or "passing", shard=shard, from_latest=from_latest or not name
        )
        return opening


class _OpensLate(EventReceiver):
    def __init__(self, opening: AbstractAsyncContextManager[EventReceiver]) -> None:
        self._opening = opening
        self._receiver: EventReceiver | None = None

    async def receive(self, limit: int) -> Sequence[Event]:
        if self._receiver is None:
            self._receiver = await self._opening.__aenter__()
        return await self._receiver.receive(limit)

    async def ack(self, events: Sequence[Event]) -> None:
        if self._receiver is not None:
            await self._receiver.ack(events)

    async def close(self) -> None:
        if self._receiver is not None:
            await self._opening.__aexit__(None, None, None)


class LatestIsDecidedByTheFirstReceive(Wrapper):
    """Looks for the end of the topic when it is first asked for events."""

    @asynccontextmanager
    async def receiver(
        self, topic: str, name: str, *, shard: Shard, from_latest: bool = False
    ) -> AsyncIterator[EventReceiver]:
        late = _OpensLate(self.real.receiver(topic, name, shard=shard, from_latest=from_latest))
        try:
            yield late
        finally:
            await late.close()


class _SkipsAPartition(Wrapper):
    async def receive(self, limit: int) -> Sequence[Event]:
        while True:
            events: Sequence[Event] = await self.real.receive(limit)
            if kept := [event for event in events if event.partition % 7]:
                return kept


class LosesPartitionsOfShards(Wrapper):
    """A signed hash: some partitions belong to no shard, as soon as there are several."""

    @asynccontextmanager
    async def receiver(
        self, topic: str, name: str, *, shard: Shard, from_latest: bool = False
    ) -> AsyncIterator[EventReceiver]:
        async with self.real.receiver(topic, name, shard=shard, from_latest=from_latest) as receiver:
            yield cast("EventReceiver", _SkipsAPartition(receiver)) if shard.total > 1 else receiver


class NoBacklog(Wrapper):
    """Thinks that everything has been read."""

    async def backlog(self, consumers: Sequence[tuple[str, str]]) -> Mapping[tuple[str, str], Backlog]:
        return dict.fromkeys(consumers, Backlog())


FAULTS: tuple[Fault, ...] = (
    fault(
        "event_streamer",
        EarlyAck,
        "two_names_both_get_every_event",
        "what_was_not_acknowledged_comes_again_after_reopening",
        "an_acknowledgement_is_for_the_event_and_all_before_it_in_its_partition",
        "an_older_acknowledgement_does_not_move_the_cursor_back",
        "a_reader_left_behind_does_not_move_the_cursor_back",
        "a_cursor_beyond_the_end_restarts_at_the_earliest_event",
        "the_lag_is_the_time_of_the_oldest_event_not_acknowledged",
        "the_lag_is_the_oldest_of_all_partitions",
        "a_backlog_is_the_number_and_the_oldest_of_the_events_not_acknowledged",
        "the_backlogs_of_many_consumers_come_in_one_answer",
        "a_backlog_is_over_all_partitions_of_its_topic",
        "a_backlog_is_the_same_for_every_process",
    ),
    fault(
        "event_streamer",
        LostAck,
        "what_was_acknowledged_does_not_come_again",
        "an_acknowledgement_is_for_the_event_and_all_before_it_in_its_partition",
        "an_older_acknowledgement_does_not_move_the_cursor_back",
        "a_reader_left_behind_does_not_move_the_cursor_back",
        "an_acknowledgement_is_written_within_a_moment_without_closing",
        "from_latest_has_no_effect_on_a_name_with_a_cursor",
        "a_cursor_outlives_a_change_of_the_number_of_shards",
        "a_cursor_beyond_the_end_restarts_at_the_earliest_event",
        "the_lag_is_the_time_of_the_oldest_event_not_acknowledged",
        "the_lag_is_the_oldest_of_all_partitions",
        "a_backlog_is_the_number_and_the_oldest_of_the_events_not_acknowledged",
        "the_backlogs_of_many_consumers_come_in_one_answer",
        "a_backlog_is_over_all_partitions_of_its_topic",
        "a_backlog_is_the_same_for_every_process",
    ),
    fault(
        "event_streamer",
        LosesOnCancel,
        "a_cancelled_receive_loses_nothing",
    ),
    fault(
        "event_streamer",
        RepeatsInOneOpening,
        "an_event_goes_to_the_partition_of_its_run_and_positions_rise",
        "a_receiver_gives_at_most_so_many_events_and_each_once",
        "a_receiver_waits_until_there_is_an_event",
        "a_receiver_gets_what_another_process_sends",
        "nothing_is_lost_when_many_processes_send_at_once",
        "a_cancelled_receive_loses_nothing",
    ),
    fault(
        "event_streamer",
        IgnoresTheLimit,
        "an_event_goes_to_the_partition_of_its_run_and_positions_rise",
        "a_receiver_gives_at_most_so_many_events_and_each_once",
        "nothing_is_lost_when_many_processes_send_at_once",
    ),
    fault(
        "event_streamer",
        OutOfOrder,
        "an_event_arrives_in_every_field",
        "an_event_goes_to_the_partition_of_its_run_and_positions_rise",
        "an_older_acknowledgement_does_not_move_the_cursor_back",
    ),
    fault(
        "event_streamer",
        OneCursorForAll,
        "two_names_both_get_every_event",
        "the_lag_is_the_time_of_the_oldest_event_not_acknowledged",
        "the_backlogs_of_many_consumers_come_in_one_answer",
        "a_backlog_is_the_same_for_every_process",
    ),
    fault(
        "event_streamer",
        CursorsBelongToShards,
        "a_cursor_outlives_a_change_of_the_number_of_shards",
    ),
    fault(
        "event_streamer",
        PassingReadersShare,
        "passing_readers_share_nothing_and_start_at_the_latest",
    ),
    fault(
        "event_streamer",
        LatestIsDecidedByTheFirstReceive,
        "from_latest_begins_after_what_was_sent_before_the_opening",
        "passing_readers_share_nothing_and_start_at_the_latest",
        "from_latest_has_no_effect_on_a_name_with_a_cursor",
    ),
    fault(
        "event_streamer",
        LosesPartitionsOfShards,
        "shards_share_the_topic_with_nothing_lost_and_nothing_twice",
        "shards_that_are_open_together_each_receive_their_own",
        "a_cursor_outlives_a_change_of_the_number_of_shards",
    ),
    fault(
        "event_streamer",
        NoBacklog,
        "the_lag_is_the_time_of_the_oldest_event_not_acknowledged",
        "the_lag_is_the_oldest_of_all_partitions",
        "a_backlog_is_the_number_and_the_oldest_of_the_events_not_acknowledged",
        "the_backlogs_of_many_consumers_come_in_one_answer",
        "a_backlog_is_over_all_partitions_of_its_topic",
        "a_backlog_stops_counting_at_ten_thousand_at_the_earliest",
        "a_backlog_is_the_same_for_every_process",
    ),
    fault(
        "event_streamer",
        DeafAfterAReset,
        "readers_go_on_when_the_stream_is_emptied_and_renumbered",
        "readers_go_on_when_the_stream_was_renumbered_and_has_grown_past_their_position",
        "readers_go_on_when_the_stream_is_emptied_and_their_cursors_are_gone",
        backend="sqlite",
    ),
)
