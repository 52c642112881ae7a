"""What adapters have in common, for the adapters of this package and for those of other people.

Each module holds one concept. Values and rules do no I/O; what needs storage gets it through a small port.

- `signal`, `subscription`, `wake_ups`: waking the tasks of a process, and the `WakeUps` port on top of it.
- `outbox_page`, `cursor`, `text`, `batch_loader`: for record stores and timeout stores.
- `tail`, `receiver`, `ack_buffer`: for event streamers.
- `identity`, `placement`, `lease_keeper`: for role schedulers.
"""
