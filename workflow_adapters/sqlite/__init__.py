"""SQLite: durable on one file, no server, several processes of one machine."""

from .backend import SQLiteBackend
from .schema import UnusableFile

__all__ = ["SQLiteBackend", "UnusableFile"]
