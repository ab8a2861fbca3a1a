"""What of a controller's state belongs into a backup, beside the database, blocks and records of calls."""

import stat
from pathlib import Path
from typing import Final

from stead_controller.backup import stores
from stead_controller.backup.repository import BackupError

DATABASE_NAME: Final = "stead.sqlite"
LEFT_OUT: Final = frozenset(
    {
        "audit",  # copied beside the sealed files
        "blocks",  # copied into the folder that all backups share
        "exchange",  # images that users put there or take from there
        "incoming",  # images that are being read
        "metrics",  # copied beside them, as below
        "metrics-copies",  # what waits to be sent
        "object-store",  # copied beside them, but for its keys
        "reserve",  # room kept on the disk
        "running",
        "serving",
        "collecting",
    }
)
_KEYS_OF_STORES: Final = frozenset(Path(store.name, key) for store in stores.ALL for key in store.keys)
_MOST_BYTES: Final = 64 << 20


def sealed_files(state_dir: Path) -> dict[str, bytes]:
    """The certificates, keys and settings of the state, by their paths in it; raises BackupError."""
    files: dict[str, bytes] = {}
    total = 0
    for path in sorted(state_dir.rglob("*")):
        name = path.relative_to(state_dir)
        if name.parts[0] in LEFT_OUT and name not in _KEYS_OF_STORES:
            continue
        if name.parts[0].startswith(DATABASE_NAME):
            continue
        if not stat.S_ISREG(path.lstat().st_mode):  # folders, and sockets of what runs
            continue
        total += path.stat().st_size
        if total > _MOST_BYTES:
            raise BackupError(f"{path}: certificates, keys and settings are larger than {_MOST_BYTES >> 20} MiB.")
        files[str(name)] = path.read_bytes()
    return files
