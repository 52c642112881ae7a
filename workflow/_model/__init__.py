"""Values: what a run, an event and a change are. No I/O and no clock."""
