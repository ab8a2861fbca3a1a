"""A server that the controller runs for itself, in a network of its own, and that outlives it.

It is started at its first use, found again by its process file after a restart of the controller, and started again
after it has died. Nobody else on the machine reaches its ports: `network_sandbox.py`.
"""

import logging
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from stead_proto.process_identity import identity_of

_log = logging.getLogger(__name__)

_SANDBOX: Final = "stead_controller.network_sandbox"
_SOCKETS: Final = "stead_controller.sandbox_sockets"
_END_SECONDS: Final = 20.0
_SOCKETS_SECONDS: Final = 20.0
_LOG_SECONDS: Final = 60.0
_MOST_LOG: Final = 32 << 20


class EnclosedProcess:
    """At most one process, with its state in `folder`, which is also its working directory.

    `name` says in the log which server it is.
    """

    def __init__(self, name: str, folder: Path, process_file: str, log_file: Path) -> None:
        """Set the paths; nothing is started or created yet."""
        self._name = name
        self._folder = folder
        self._process_file = process_file
        self._log_file = log_file
        self._child: subprocess.Popen[bytes] | None = None
        self._held: int | None = None
        self._log_checked = 0.0

    def make_folder(self) -> None:
        """Make the folder, which only our user can enter; raises OSError."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder.chmod(0o700)

    def adopt(self) -> int | None:
        """Take the process that an earlier controller started, if it still runs, and return its id; raises OSError."""
        self._release()
        try:
            recorded = (self._folder / self._process_file).read_text(encoding="ascii")
            process = int(recorded.split()[0])
        except (OSError, ValueError, IndexError):
            return None
        if identity_of(process) != recorded:
            return None
        self._held = os.pidfd_open(process)
        _log.info("server_adopted", extra={"server": self._name, "pid": process})
        return process

    def start(self, command: Sequence[str | Path], environment: Mapping[str, str]) -> int:
        """Start the program, and return its process id; raises OSError."""
        self._release()
        with self._log_file.open("ab") as output:
            self._child = subprocess.Popen(
                [sys.executable, "-m", _SANDBOX, self._process_file, *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self._folder,
                env=dict(environment),
                start_new_session=True,
                umask=0o077,
            )
        self._held = os.pidfd_open(self._child.pid)
        _log.info("server_started", extra={"server": self._name, "pid": self._child.pid})
        return self._child.pid

    def kill(self) -> None:
        """Kill the process, and wait until it has ended; raises OSError if it does not."""
        if self._held is None:
            return
        signal.pidfd_send_signal(self._held, signal.SIGKILL)
        if not self._ends_within(_END_SECONDS):
            raise TimeoutError(f"the process of {self._name} does not end")

    def is_alive(self) -> bool:
        """Tell whether the process that was adopted or started still runs."""
        return self._held is not None and not self._ends_within(0)

    def sockets(self, count: int) -> list[socket.socket]:
        """Return unconnected TCP sockets of the process's network, which reach its ports; raises OSError."""
        if self._held is None:
            raise ProcessLookupError(f"{self._name} does not run")
        ours, theirs = socket.socketpair()
        with ours, theirs:
            numbers = theirs.fileno(), self._held
            done = subprocess.run(
                [sys.executable, "-m", _SOCKETS, *map(str, numbers), str(count)],
                pass_fds=numbers,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                check=False,
                timeout=_SOCKETS_SECONDS,
            )
            if done.returncode != 0:
                raise OSError(f"no socket in the network of {self._name}: {done.stderr.decode()[-500:]}")
            _, found, _, _ = socket.recv_fds(ours, 1, count)
        return [socket.socket(fileno=number) for number in found]

    def bound_log(self) -> None:
        """Truncate the log, to which the process appends, when it is too long; checked once a minute."""
        if time.monotonic() < self._log_checked + _LOG_SECONDS:
            return
        self._log_checked = time.monotonic()
        try:
            if self._log_file.stat().st_size > _MOST_LOG:
                os.truncate(self._log_file, 0)
        except OSError as error:
            _log.warning("server_log_not_emptied", extra={"server": self._name, "detail": str(error)})

    def close(self) -> None:
        """Release the process, which keeps running."""
        self._release()
        if self._child is not None:
            self._child.returncode = 0  # else it warns when it is collected while its process runs, which is intended
            self._child = None

    def _ends_within(self, seconds: float) -> bool:
        assert self._held is not None
        poller = select.poll()
        poller.register(self._held, select.POLLIN)
        return bool(poller.poll(seconds * 1000))

    def _release(self) -> None:
        if self._child is not None and self._child.poll() is not None:
            _log.error(
                "server_ended",
                extra={"server": self._name, "status": self._child.returncode, "log": str(self._log_file)},
            )
            self._child = None
        if self._held is not None:
            os.close(self._held)
        self._held = None
