"""Memory: a second instance shares the ports of the first, for there is no other way to reach them."""

from collections.abc import Sequence
from datetime import timedelta
from types import MappingProxyType

from workflow.protocols import Backend, ConnectorEvent, ConnectorSource
from workflow_adapters.conformance import Capability, Factory
from workflow_adapters.memory import MemoryBackend, MemoryConnector

ONE_PROCESS = "memory lives and dies with its process"


class MemoryFactory(Factory):
    lacks = MappingProxyType(
        {
            Capability.REOPENING: ONE_PROCESS,
            Capability.CRASHING: ONE_PROCESS,
            Capability.UNREACHABLE: ONE_PROCESS,
            Capability.SPREADING: "there is one process, and it may hold every role",
            Capability.EMPTIED_STREAM: "it is emptied with its process, and with it all readers",
            Capability.SPOILED_OUTBOX: "values are kept as they are, nothing is ever decoded",
            Capability.ON_COMMIT: "there is no transaction to write in",
            Capability.JOINED_TRANSACTIONS: "there is no transaction to write in",
            Capability.REFUSED_EVENTS: "its stream takes every event",
        }
    )
    lease_time = timedelta(seconds=0.3)

    def __init__(self) -> None:
        self._storage = MemoryBackend()

    def backend(self) -> Backend:
        shared = self._storage
        return Backend(shared.record_store, shared.event_streamer, shared.role_scheduler, shared.timeout_store)

    def connector(self, events: Sequence[ConnectorEvent]) -> ConnectorSource:
        return MemoryConnector(events)
