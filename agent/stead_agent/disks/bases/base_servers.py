"""The processes that serve bases while they are fetched: started, adopted by the next agent, restarted and ended."""

import contextlib
import os
import shutil
import signal
import socket
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from stead_agent.disks.bases.interface import BaseAwayError, BaseError
from stead_agent.disks.disk_keys import handed_over
from stead_agent.disks.disk_users import users_of
from stead_agent.logs import Log
from stead_agent.programs import processes
from stead_agent.programs.run import RunError, start_daemon

_log = Log(__name__)

_MODULE: Final = "stead_agent.disks.bases"
_MODULES: Final = frozenset({_MODULE.encode(), b"stead_agent.bases"})
"""Running processes may be from the previous release, in which the module had another name."""

_START_SECONDS: Final = 20.0
_END_SECONDS: Final = 5.0
_POLL: Final = 0.02
_REVIVE_SECONDS: Final = 1.0
_MOST_PATH: Final = 107  # of a socket: unix(7)


class BaseServers:
    """One process for each base that is incomplete, or that guests opened before it was complete."""

    def __init__(self, folder: Path, state: Path, controllers: Sequence[str]) -> None:
        """Adopt the processes of an earlier agent, and restart those that should run: their sockets are there."""
        self._folder = folder
        self._state = state
        self._controllers = controllers
        self._lock = threading.Lock()
        self._watched: dict[str, int] = {}
        self._keys: dict[str, bytes] = {}
        for path in folder.glob("*.nbd"):
            with contextlib.suppress(BaseError):  # tried again when the base is needed
                self.ensure(path.stem, self._size_of(path.stem), wait=False)

    def socket(self, base_id: str) -> Path:
        """Return the path of the socket on which a base is served."""
        return self._folder / f"{base_id}.nbd"

    def serves(self, base_id: str) -> bool:
        """Tell whether a base is served now."""
        return _greets(self.socket(base_id))

    def ensure(self, base_id: str, size: int, key: bytes = b"", *, wait: bool = True) -> None:
        """Have a base served; raises BaseAwayError when that cannot begin until the block store can be reached.

        With a key the base is encrypted, and served only to users that are allowed to read it.
        """
        if len(os.fsencode(self.socket(base_id))) > _MOST_PATH:
            raise BaseError(f"{self.socket(base_id)} is too long for a socket's path")
        with self._lock:
            if key:
                self._keys[base_id] = key
                users_of(self.socket(base_id)).mkdir(mode=0o700, exist_ok=True)
            if self._process(base_id) is None:
                if not key and users_of(self.socket(base_id)).exists():
                    raise BaseError(f"{base_id} is encrypted, and its key has not come")
                self._start(base_id, size, key)
        deadline = time.monotonic() + _START_SECONDS
        while wait and not self.serves(base_id):
            if time.monotonic() > deadline:
                raise BaseAwayError(f"{base_id}: nothing can be read of it yet: {self._reason(base_id)}")
            time.sleep(_POLL)
        self._watch(base_id)

    def _start(self, base_id: str, size: int, key: bytes) -> None:
        self._size_file(base_id).write_text(str(size))
        command: list[str | Path] = [sys.executable, "-I", "-m", _MODULE, self._folder, base_id, str(size)]
        try:
            with contextlib.ExitStack() as held:
                handles = [held.enter_context(handed_over(key))] if key else []
                command += [str(handles[0]) if handles else "-", self._state, *self._controllers]
                start_daemon(command, self._log_file(base_id), inherits=handles)
        except (RunError, OSError) as error:
            raise BaseError(f"{base_id}: its server could not be started: {error}") from error

    def end(self, base_id: str) -> None:
        """End the server of a base; it has no readers any more, and its key is forgotten."""
        with self._lock:
            self._watched.pop(base_id, None)
            self._keys.pop(base_id, None)
            self.socket(base_id).unlink(missing_ok=True)
            pid = self._process(base_id)
            if pid is not None:
                with processes.held(pid, lambda: self._process(base_id) == pid) as process:
                    if process is not None:
                        signal.pidfd_send_signal(process, signal.SIGKILL)
                        processes.ends(process, _END_SECONDS)
        for path in (self._pid_file(base_id), self._size_file(base_id), self._log_file(base_id)):
            path.unlink(missing_ok=True)
        with contextlib.suppress(FileNotFoundError):  # it was not encrypted
            shutil.rmtree(users_of(self.socket(base_id)))

    def _process(self, base_id: str) -> int | None:
        """Return the process id of a base's server."""
        try:
            pid = int(self._pid_file(base_id).read_text())
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except (OSError, ValueError):
            return None
        is_it = bool(_MODULES & set(words)) and os.fsencode(self._folder) in words and base_id.encode() in words
        return pid if is_it else None

    def _watch(self, base_id: str) -> None:
        """Have a thread start the process again if it ends while its socket is there."""
        with self._lock:
            pid = self._process(base_id)
            if pid is None or self._watched.get(base_id) == pid:
                return
            self._watched[base_id] = pid
        threading.Thread(target=self._revive_after, args=(base_id, pid), name=f"watch {base_id}", daemon=True).start()

    def _revive_after(self, base_id: str, pid: int) -> None:
        with processes.held(pid) as process:
            if process is not None:
                processes.ends(process, None)
        while self._watched.get(base_id) == pid and self.socket(base_id).exists():
            _log.warning("base_server_ended", base=base_id, process=pid)
            try:
                self.ensure(base_id, self._size_of(base_id), self._keys.get(base_id, b""))
                return
            except BaseError as error:
                _log.warning("base_server_not_revived", base=base_id, reason=str(error))
            time.sleep(_REVIVE_SECONDS)
        if self._watched.get(base_id) == pid:
            self._size_file(base_id).unlink(missing_ok=True)
            self._log_file(base_id).unlink(missing_ok=True)

    def _size_of(self, base_id: str) -> int:
        try:
            return int(self._size_file(base_id).read_text())
        except (OSError, ValueError) as error:
            raise BaseError(f"{base_id}: its size is not known: {error}") from error

    def _reason(self, base_id: str) -> str:
        try:
            lines = self._log_file(base_id).read_text(errors="replace").splitlines()
        except OSError:
            return "its server said nothing"
        return lines[-1][-300:] if lines else "its server said nothing"

    def _pid_file(self, base_id: str) -> Path:
        return self._folder / "filling" / f"{base_id}.server"

    def _size_file(self, base_id: str) -> Path:
        return self._folder / "filling" / f"{base_id}.size"

    def _log_file(self, base_id: str) -> Path:
        return self._folder / "filling" / f"{base_id}.log"


def _greets(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as asking:
        asking.settimeout(2.0)
        try:
            asking.connect(str(path))
            return bool(asking.recv(1))
        except OSError:
            return False
