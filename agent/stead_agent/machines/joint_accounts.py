"""What guests have saved, in files of one folder by machine: they outlive the agent and a guest's stops."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from stead_agent.logs import Log

_log = Log(__name__)

_SUFFIX: Final = ".json"
_NEW: Final = ".new"


@dataclass(frozen=True, slots=True)
class Account:
    """What a guest has saved of bytes and of operations (see `joint_credit`), and up to where that is counted."""

    bytes: float = 1.0
    operations: float = 1.0
    at: float = 0.0  # Unix seconds
    number: int = -1  # libvirt's, of the domain that the counters are of
    counters: dict[str, tuple[int, int]] = field(default_factory=dict)  # bytes and operations by volume


class JointAccounts:
    """Loads and saves accounts."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def load(self, machine_id: str) -> Account | None:
        """Read an account; None when there is none, or one that cannot be read, which is logged."""
        try:
            return _parse(json.loads(self._path(machine_id).read_bytes()))
        except FileNotFoundError:
            return None
        except (AttributeError, KeyError, OSError, TypeError, ValueError) as error:
            _log.error("volumes_account_unreadable", error=error, machine=machine_id)
            return None

    def save(self, machine_id: str, account: Account) -> None:
        """Write an account in the place of an earlier one; on a full disk the next time, which is logged."""
        path = self._path(machine_id)
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.with_suffix(_NEW).write_text(json.dumps(asdict(account)))
            path.with_suffix(_NEW).replace(path)
        except OSError as error:
            _log.warning("volumes_account_not_saved", machine=machine_id, reason=str(error))

    def remove(self, machine_id: str) -> None:
        """Delete an account."""
        path = self._path(machine_id)
        path.with_suffix(_NEW).unlink(missing_ok=True)
        path.unlink(missing_ok=True)

    def _path(self, machine_id: str) -> Path:
        return self._folder / f"{machine_id}{_SUFFIX}"


def _parse(found: dict[str, Any]) -> Account:
    counters = {str(volume): (int(given[0]), int(given[1])) for volume, given in found["counters"].items()}
    saved = (float(found["bytes"]), float(found["operations"]))
    return Account(*saved, float(found["at"]), int(found["number"]), counters)
