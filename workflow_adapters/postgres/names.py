"""How a schema's name becomes SQL, and the keys of its advisory locks."""

import zlib

_LONGEST = 63
"""Bytes that Postgres keeps of a name; it would silently cut a longer one."""

MIGRATION_LOCK = 1
APPEND_LOCK = 2
ROLES_LOCK = 3
RETENTION_LOCK = 4


def quoted(name: str) -> str:
    """The name as a quoted SQL identifier.

    Raises:
        ValueError: the name is empty, too long, or holds a character no name can have.
    """
    if not name or "\0" in name or len(name.encode()) > _LONGEST:
        raise ValueError(f"schema {name!r}: a name has 1 to {_LONGEST} bytes and no NUL")
    return '"' + name.replace('"', '""') + '"'


def lock_key(schema: str, purpose: int) -> int:
    """The key of this schema's advisory lock for a purpose: schemas of one database must not share locks."""
    return zlib.crc32(b"workflow:" + schema.encode()) * 16 + purpose
