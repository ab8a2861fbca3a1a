"""The agent's side of the relay: a process that is started when it is needed, and restarted when it has ended."""

import json
import socket
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from stead_agent.endpoints.interface import Endpoint, EndpointError
from stead_agent.logs import Log
from stead_agent.programs.run import RunError, start_daemon

_log = Log(__name__)

_MODULE: Final = "stead_agent.endpoints"
_ANSWER_SECONDS: Final = 20.0
_LINE: Final = 1 << 16


class _EndedError(EndpointError):
    """The process ended before it answered, or sent an invalid answer."""


class RelayProcess:
    """The `Endpoints` of real hosts; `folder` is its own, `state` has the certificate; `controllers`: host:port."""

    def __init__(self, folder: Path, state: Path, controllers: Sequence[str]) -> None:
        """Start nothing: most hosts have no endpoints."""
        self._folder = folder
        self._state = state
        self._controllers = controllers
        self._lock = threading.Lock()
        self._wanted: dict[str, tuple[Endpoint, ...]] = {}  # by VPC
        self._sent: list[dict[str, Any]] = []
        self._process: socket.socket | None = None

    def apply(self, vpc_id: str, endpoints: tuple[Endpoint, ...]) -> None:
        """Listen for exactly these endpoints of a VPC."""
        with self._lock:
            if endpoints:
                self._wanted[vpc_id] = endpoints
            else:
                self._wanted.pop(vpc_id, None)
            self._send()

    def remove(self, vpc_id: str) -> None:
        """Stop listening for a VPC's endpoints."""
        self.apply(vpc_id, ())

    def audit(self) -> tuple[str, ...]:
        """Restart the process if it has ended, and listen again in namespaces that were recreated."""
        with self._lock:
            if not self._wanted:
                return ()
            process, before = self._process, self._sent
            self._send(anew=True)
            if self._process is not process:
                return ("the relay of endpoints had ended",)
            return () if self._sent == before else ("namespaces of endpoints were others",)

    def close(self) -> None:
        """Stop the process."""
        with self._lock:
            self._wanted.clear()
            self._end_at_once()

    def _send(self, *, anew: bool = False) -> None:
        """Send the process the complete list if it changed; the process is started only when the list is not empty."""
        wanted = [
            {
                "id": each.id,
                "namespace": str(each.namespace),
                "identity": _identity(each.namespace),
                "ports": each.ports,
                "controller_port": each.controller_port,
            }
            for vpc_id in sorted(self._wanted)
            for each in self._wanted[vpc_id]
        ]
        if not wanted:
            self._end_at_once()
            return
        if self._process is not None and _is_over(self._process):
            _log.warning("relay_ended")
            self._end()
        if self._process is not None and wanted == self._sent and not anew:
            return
        had_one = self._process is not None
        try:
            self._ask(wanted)
        except _EndedError:
            if not had_one:
                raise
            self._ask(wanted)  # to a new process: the old one had just ended
        self._sent = wanted

    def _ask(self, wanted: list[dict[str, Any]]) -> None:
        """Make the process listen for these; raises EndpointError when it cannot, _EndedError when it ended."""
        process = self._process = self._process or self._start()
        self._sent = []
        try:
            process.settimeout(_ANSWER_SECONDS)
            process.sendall(json.dumps({"endpoints": wanted}).encode() + b"\n")
            received = b""
            while not received.endswith(b"\n"):
                piece = process.recv(_LINE)
                if not piece:
                    raise ConnectionAbortedError("it ended")
                received += piece
            answer: dict[str, str] = json.loads(received)
        except (OSError, ValueError) as failure:
            self._end()
            raise _EndedError(f"the relay did not answer ({failure}); see {self._folder / 'log'}") from failure
        if "error" in answer:
            raise EndpointError(answer["error"])

    def _start(self) -> socket.socket:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        ours, its = socket.socketpair()
        words: list[str | Path] = [
            sys.executable,
            "-I",
            "-m",
            _MODULE,
            str(its.fileno()),
            self._state,
            *(each.rpartition(":")[0].strip("[]") for each in self._controllers),
        ]
        try:
            start_daemon(words, self._folder / "log", inherits=[its.fileno()])
        except (RunError, OSError) as failure:
            ours.close()
            raise EndpointError(f"the relay could not be started: {failure}") from failure
        finally:
            its.close()
        return ours

    def _end_at_once(self) -> None:
        """Stop the process when it no longer listens anywhere: the namespaces may be removed then."""
        if self._process is not None:
            try:
                self._ask([])
            except EndpointError as failure:
                _log.warning("relay_ended", reason=str(failure))
        self._end()

    def _end(self) -> None:
        """Close the connection to the process, which then exits by itself."""
        self._sent = []
        if self._process is not None:
            self._process.close()
            self._process = None


def _is_over(process: socket.socket) -> bool:
    """Tell whether the other end has closed; it never sends anything without a request."""
    try:
        process.setblocking(False)
        return process.recv(1) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


def _identity(namespace: Path) -> int:
    """Return a number that differs between namespaces of the same name over time; 0 when there is none."""
    try:
        return namespace.stat().st_ino
    except OSError:
        return 0
