"""The host's key for session tokens: one file that only root reads, made once."""

import os
import secrets
import stat
from pathlib import Path

from stead_agent.metadata.tokens import KEY_BYTES


def load_key(path: Path) -> bytes:
    """Read the key, or create a new one when it is missing or incomplete, or when other users could have read it.

    A new key invalidates all tokens issued before; clients then request another, as they do when one expires.
    """
    try:
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return _make_key(path)
    with os.fdopen(file, "rb") as opened:
        about = os.fstat(opened.fileno())
        key = opened.read(KEY_BYTES + 1)
    private = stat.S_ISREG(about.st_mode) and about.st_uid == os.geteuid() and not about.st_mode & 0o077
    return key if private and len(key) == KEY_BYTES else _make_key(path)


def _make_key(path: Path) -> bytes:
    """Write a new key atomically."""
    key = secrets.token_bytes(KEY_BYTES)
    new = path.with_name(f".{path.name}.new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as opened:
        opened.write(key)
        opened.flush()
        os.fsync(opened.fileno())
    new.replace(path)
    return key
