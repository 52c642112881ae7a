"""For tests of workflows: a clock that the test moves, and ways to wait for the engine.

Everything here works on any backend. See `docs/testing.md`.
"""

from ._fake_clock import FakeClock
from ._helpers import await_timeout_insert, new_testing_run, require, trigger_callback_on, wait_for

__all__ = ["FakeClock", "await_timeout_insert", "new_testing_run", "require", "trigger_callback_on", "wait_for"]
