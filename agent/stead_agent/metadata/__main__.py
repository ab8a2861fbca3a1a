"""The metadata process: `python -m stead_agent.metadata FOLDER STATE`, one per host; the agent starts it.

It outlives the agent: guests get metadata and tokens while no agent runs, and what the agent sends is stored in FOLDER
for the next process. STATE has the key of session tokens. Imports are few, since each costs memory on every host.
"""

import dataclasses
import fcntl
import logging
import os
import resource
import signal
import socket
import sys
from pathlib import Path
from typing import Any, Final

from stead_agent.metadata import control
from stead_agent.metadata.files import Files, from_json
from stead_agent.metadata.interface import MetadataError, PushedKey
from stead_agent.metadata.service import Metadata

log = logging.getLogger("stead_agent.metadata")

_REQUEST_SECONDS: Final = 5.0
_MOST_OPEN: Final = 1 << 16


class Program:
    """Serves guests in the service's thread, and the agent in this one."""

    def __init__(self, folder: Path, state: Path) -> None:
        """Serve again what is stored in the folder."""
        self._version = control.code_version()
        self._files = Files(folder / "vpcs")
        self._service = Metadata(state)
        self._ending = False
        for stored in self._files.read():
            for guest in stored.guests:
                self._service.put(stored.vpc_id, guest)
            if stored.namespace is not None:
                try:
                    self._service.serve(stored.vpc_id, stored.namespace)
                except MetadataError as failure:  # the namespace is gone; the agent will send the new one
                    log.warning("%s: %s", stored.vpc_id, failure)

    def run(self, listener: socket.socket) -> None:
        """Handle the agent's requests one after the other, until a request to end."""
        while not self._ending:
            asking, _ = listener.accept()
            with asking:
                asking.settimeout(_REQUEST_SECONDS)
                try:
                    control.send(asking, self._answer(control.receive(asking)))
                except ConnectionAbortedError:
                    continue  # a connection without a request, only to find out which process listens
                except (OSError, ValueError) as failure:  # the client is gone, or slow, or not an agent
                    log.warning("a request was lost: %s", failure)
        self._service.close()

    def _answer(self, what: dict[str, Any]) -> dict[str, Any]:
        try:
            return {"result": self._do(what)}
        except (MetadataError, OSError, KeyError, TypeError, ValueError) as failure:
            return {"error": str(failure) if isinstance(failure, MetadataError) else repr(failure)}

    def _do(self, what: dict[str, Any]) -> Any:
        match what["do"]:
            case "about":
                return {"version": self._version}
            case "serve":
                self._service.serve(what["vpc_id"], Path(what["namespace"]))
                self._files.write_namespace(what["vpc_id"], Path(what["namespace"]))
            case "withdraw":
                self._files.remove_vpc(what["vpc_id"])
                self._service.withdraw(what["vpc_id"])
            case "put":
                guest = from_json(what["guest"])
                self._files.write_guest(what["vpc_id"], guest)
                self._service.put(what["vpc_id"], guest)
            case "remove":
                self._files.remove_guest(what["vpc_id"], what["instance_id"])
                self._service.remove(what["vpc_id"], what["instance_id"])
            case "push_key":
                self._service.push_key(what["instance_id"], PushedKey(**what["key"]))
            case "uses":
                return {instance_id: dataclasses.asdict(each) for instance_id, each in self._service.uses().items()}
            case "present":
                return {vpc_id: sorted(guests) for vpc_id, guests in self._service.present().items()}
            case "end":
                self._ending = True
            case other:
                raise MetadataError(f"what is {other!r}?")
        return None


def main(folder: Path, state: Path) -> None:
    """Serve until a request or signal to end; return at once when another process already serves the folder."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO)
    # Signals to the agent's terminal or process group are ignored.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    os.umask(0o077)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, _MOST_OPEN), most))
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log.info("another process serves %s", folder)
            return
        program = Program(folder, state)
        with control.listen(folder) as listener:
            program.run(listener)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
