"""The file by which `stead recover` tells a controller that it begins in the place of one that was lost."""

from pathlib import Path
from typing import Final

from stead_proto.tls import write_private

_FILE_NAME: Final = "recovers"


def begin(state_dir: Path) -> None:
    """Leave word for the controller that is to begin with this state directory, which is made if there is none."""
    state_dir.mkdir(mode=0o700, exist_ok=True)
    write_private(state_dir / _FILE_NAME, b"")


def has_begun(state_dir: Path) -> bool:
    """Tell whether there is word that the controller has not noted yet."""
    return (state_dir / _FILE_NAME).exists()


def noted(state_dir: Path) -> None:
    """Remove the word, once the database has it."""
    (state_dir / _FILE_NAME).unlink(missing_ok=True)
