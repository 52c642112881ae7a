"""Values: runs, events and changes. No I/O and no clock."""
