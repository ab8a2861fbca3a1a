"""The metadata service's process, which outlives the agent: started, adopted, restarted and replaced."""

import contextlib
import dataclasses
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from stead_agent.logs import Log
from stead_agent.metadata import control
from stead_agent.metadata.files import Files, to_json
from stead_agent.metadata.interface import Guest, MetadataError, PushedKey, Uses
from stead_agent.programs import processes
from stead_agent.programs.run import RunError, start_daemon

_log = Log(__name__)

_MODULE: Final = "stead_agent.metadata"
_START_SECONDS: Final = 15.0
_END_SECONDS: Final = 5.0
_ABOUT_SECONDS: Final = 3.0  # a process that does not send its version in time hangs
_POLL: Final = 0.01
_REVIVE_SECONDS: Final = 1.0  # between two attempts


class MetadataProcess:
    """The MetadataService for guests of this host; `folder` is its own, `state` has the token key.

    A process that an earlier agent started is adopted with all its data, or replaced when its code has another version.
    """

    def __init__(self, folder: Path, state: Path) -> None:
        """Start nothing: the process is adopted or started by `start`, or when there is something to serve."""
        self._folder = folder
        self._state = state
        self._version = control.code_version()
        self._starting = threading.Lock()
        self._watched: int | None = None  # process id
        self._closed = threading.Event()

    def start(self) -> None:
        """Adopt or start the process, so that the first guest need not wait for it."""
        self._ensure()

    def serve(self, vpc_id: str, namespace: Path) -> None:
        """Listen inside a VPC's namespace, unless we do already in this very one."""
        self._ask({"do": "serve", "vpc_id": vpc_id, "namespace": str(namespace)})

    def withdraw(self, vpc_id: str) -> None:
        """Stop listening in a VPC and forget its guests."""
        if self._is_needed():
            self._ask({"do": "withdraw", "vpc_id": vpc_id})

    def put(self, vpc_id: str, guest: Guest) -> None:
        """Answer for a guest from its next request on."""
        self._ask({"do": "put", "vpc_id": vpc_id, "guest": to_json(guest)})

    def remove(self, vpc_id: str, instance_id: str) -> None:
        """Forget a guest."""
        if self._is_needed():
            self._ask({"do": "remove", "vpc_id": vpc_id, "instance_id": instance_id})

    def push_key(self, instance_id: str, key: PushedKey) -> None:
        """Show a key to a guest until it expires."""
        self._ask({"do": "push_key", "instance_id": instance_id, "key": dataclasses.asdict(key)})

    def uses(self) -> Mapping[str, Uses]:
        """Return how each guest has asked, by instance id."""
        if not self._is_needed():
            return {}
        found: dict[str, dict[str, Any]] = self._ask({"do": "uses"})
        return {instance_id: Uses(**each) for instance_id, each in found.items()}

    def present(self) -> Mapping[str, frozenset[str]]:
        """List VPCs and the guests known in each."""
        if not self._is_needed():
            return {}
        found: dict[str, list[str]] = self._ask({"do": "present"})
        return {vpc_id: frozenset(guests) for vpc_id, guests in found.items()}

    def close(self) -> None:
        """Disconnect from the process, which continues to serve."""
        self._closed.set()

    def end(self) -> None:
        """Stop the process and remove everything of it."""
        self._closed.set()
        with self._starting:
            self._end_process()
            shutil.rmtree(self._folder, ignore_errors=True)

    # -- the process

    def _is_needed(self) -> bool:
        """Tell whether something is served, or was when the process ended."""
        return not Files(self._folder / "vpcs").are_empty()

    def _ask(self, what: dict[str, Any]) -> Any:
        """Send a request to the process, which is adopted or started first if necessary."""
        if self._watched is None:
            self._ensure()
        try:
            return self._request(what)
        except control.NoAnswerError:
            self._ensure()
            return self._request(what)

    def _request(self, what: dict[str, Any]) -> Any:
        try:
            return control.request(self._folder, what)
        except OSError as failure:
            raise MetadataError(f"the metadata process did not answer: {failure}") from failure

    def _ensure(self) -> None:
        """Make sure that a process of this code version answers."""
        with self._starting:
            if self._closed.is_set():
                raise MetadataError("the metadata service is closed")
            version = self._running_version()
            if version == self._version:
                self._watch()
                return
            if version is not None:
                _log.info("metadata_replaced", version=version)
                self._end_process()
            self._start()
            self._watch()

    def _running_version(self) -> str | None:
        """Return a running process's version; one that hangs counts as a different version."""
        try:
            return str(control.request(self._folder, {"do": "about"}, _ABOUT_SECONDS)["version"])
        except control.NoAnswerError:
            return None
        except (OSError, MetadataError, KeyError, TypeError) as failure:
            return f"unknown: {failure}"

    def _start(self) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        command: list[str | Path] = [sys.executable, "-I", "-m", _MODULE, self._folder, self._state]
        try:
            start_daemon(command, self._folder / "log")
        except (RunError, OSError) as failure:
            raise MetadataError(f"the metadata process could not be started: {failure}") from failure
        deadline = time.monotonic() + _START_SECONDS
        while self._running_version() is None:
            if time.monotonic() > deadline:
                raise MetadataError(f"the metadata process does not answer; see {self._folder / 'log'}")
            time.sleep(_POLL)

    def _end_process(self) -> None:
        """Stop a running process by a request, or by force when it does not answer."""
        pid = _pid_of(self._folder)
        if pid is None:
            return
        with processes.held(pid, lambda: _pid_of(self._folder) == pid) as process:
            if process is None:
                return
            with contextlib.suppress(MetadataError, OSError):  # it hangs, or has just ended
                control.request(self._folder, {"do": "end"}, _ABOUT_SECONDS)
            if not processes.ends(process, _END_SECONDS):
                signal.pidfd_send_signal(process, signal.SIGKILL)
                processes.ends(process, _END_SECONDS)

    def _watch(self) -> None:
        """Start a thread that restarts the process as soon as it ends by itself."""
        pid = _pid_of(self._folder)
        if pid is None or pid == self._watched:
            return
        self._watched = pid
        threading.Thread(target=self._revive_after, args=(pid,), name="metadata-watch", daemon=True).start()

    def _revive_after(self, pid: int) -> None:
        since = time.monotonic()
        with processes.held(pid) as process:
            if process is not None:
                processes.ends(process, None)
        if time.monotonic() - since < _REVIVE_SECONDS:
            self._closed.wait(_REVIVE_SECONDS)
        while not self._closed.is_set() and self._watched == pid:
            _log.warning("metadata_process_ended", process=pid)
            try:
                self._ensure()
            except MetadataError as failure:
                _log.warning("metadata_not_revived", reason=str(failure))
            if self._watched == pid:
                self._closed.wait(_REVIVE_SECONDS)


def _pid_of(folder: Path) -> int | None:
    """Return the id of the process that listens for the agent, if it is one of ours."""
    try:
        pid = control.listening_process(folder)
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (OSError, MetadataError):
        return None
    return pid if _MODULE.encode() in words and os.fsencode(folder) in words else None
