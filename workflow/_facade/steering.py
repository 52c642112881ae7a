"""Verbs by which people steer runs."""

from .._model.run import ObjectT, Run, StatusT
from .._verbs import steer
from .base import Facade


class Steering(Facade[ObjectT, StatusT]):
    """Pause, resume, cancel, and erase the data of runs."""

    async def pause(
        self, run_id: str, reason: str = "", *, actor: str = "", version: int | None = None
    ) -> Run[ObjectT, StatusT]:
        """Pause a live run: nothing but resume and cancel moves it until then. Returns the run as committed.

        Args:
            reason, actor: why, and who asks for it; kept with the version.
            version: only while the run is at this version.

        Raises:
            RecordNotFound, InvalidRunState, Conflict, Unavailable, OutcomeUnknown.
        """
        return self._reading(await steer.pause(self._engine, run_id, reason=reason, actor=actor, version=version))

    async def resume(
        self, run_id: str, reason: str = "", *, actor: str = "", version: int | None = None
    ) -> Run[ObjectT, StatusT]:
        """Let a paused run go on: its step is tried again, its attempts counted from 1. Returns the run as committed.

        Args:
            reason, actor, version: see `pause`.

        Raises:
            RecordNotFound, InvalidRunState, Conflict, Unavailable, OutcomeUnknown.
        """
        return self._reading(await steer.resume(self._engine, run_id, reason=reason, actor=actor, version=version))

    async def cancel(
        self, run_id: str, reason: str = "", *, actor: str = "", version: int | None = None
    ) -> Run[ObjectT, StatusT]:
        """Cancel a live run for good. Returns the run as committed.

        Args:
            reason, actor, version: see `pause`.

        Raises:
            RecordNotFound, InvalidRunState, Conflict, Unavailable, OutcomeUnknown.
        """
        return self._reading(await steer.cancel(self._engine, run_id, reason=reason, actor=actor, version=version))

    async def delete_data(
        self, run_id: str, reason: str = "", *, actor: str = "", version: int | None = None
    ) -> Run[ObjectT, StatusT]:
        """Ask for a finished run's data to be erased; a process of the workflow does it soon after.

        Erases the object, error texts and traces, and reasons, from the record, its history, the outbox and
        the dead letters; the audit of transitions stays, with the actors. Returns the run as committed.

        Args:
            reason, actor, version: see `pause`.

        Raises:
            RecordNotFound, InvalidRunState, Conflict, Unavailable, OutcomeUnknown.
        """
        record = await steer.delete_data(self._engine, run_id, reason=reason, actor=actor, version=version)
        return self._reading(record)
