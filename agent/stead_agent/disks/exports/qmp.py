"""Commands to a running qemu-storage-daemon by QMP, its JSON protocol, over a unix socket.

See https://www.qemu.org/docs/master/interop/qmp-spec.html. Arguments may hold keys: they appear in no error and no log.
"""

import json
import os
import socket
from pathlib import Path
from typing import Any, Final, Self

from stead_agent.disks.exports.interface import ExportError

_MOST_BYTES: Final = 1 << 20  # of one answer: an untrusted daemon must not fill the agent's memory
_READ_BYTES: Final = 65536


class RefusedError(ExportError):
    """The daemon refused a command."""


class SilentError(ExportError):
    """The daemon did not answer in time, or has ended."""


class Qmp:
    """A connection to a daemon; to be used by one thread, in a `with`."""

    def __init__(self, path: Path, seconds: float) -> None:
        """Connect; each answer may take so many seconds. Raises SilentError."""
        self._received = bytearray()
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(seconds)
        folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            self._socket.connect(f"/proc/self/fd/{folder}/{path.name}")
            self._receive()  # its greeting
            self.execute("qmp_capabilities")
        except (OSError, ExportError) as error:
            self._socket.close()
            raise SilentError(f"qemu-storage-daemon does not answer: {error}") from error
        finally:
            os.close(folder)

    def __enter__(self) -> Self:
        """Return the connection."""
        return self

    def __exit__(self, *_exception: object) -> None:
        """Close the connection; the daemon runs on."""
        self._socket.close()

    def execute(self, command: str, arguments: dict[str, Any] | None = None) -> Any:
        """Execute one command and return its result; raises RefusedError, SilentError."""
        request = {"execute": command, "arguments": arguments or {}}
        try:
            self._socket.sendall(json.dumps(request).encode() + b"\n")
            while "return" not in (answer := self._receive()):
                if "error" in answer:
                    raise RefusedError(f"{command}: {answer['error'].get('desc', 'refused')}")
        except (OSError, ValueError) as error:
            raise SilentError(f"qemu-storage-daemon did not answer to {command}: {error}") from error
        return answer["return"]

    def _receive(self) -> dict[str, Any]:
        """Receive one object, which is a line."""
        while b"\n" not in self._received:
            chunk = self._socket.recv(_READ_BYTES)
            if not chunk:
                raise ConnectionResetError("it has ended")
            self._received += chunk
            if len(self._received) > _MOST_BYTES:
                raise ValueError("an answer that is too long")
        line, _, rest = bytes(self._received).partition(b"\n")
        self._received = bytearray(rest)
        answer = json.loads(line)
        if not isinstance(answer, dict):
            raise ValueError("an answer that is no object")  # noqa: TRY004 - one error for every invalid answer
        return answer
