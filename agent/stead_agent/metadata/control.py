"""The protocol between agent and metadata process: one JSON object each way per connection, over a unix socket.

Requests: {"do": "about" | "serve" | "withdraw" | "put" | "remove" | "push_key" | "uses" |
"present" | "end", …}; answers: {"result": …} or
{"error": text}, which is raised as MetadataError in the agent.
"""

import contextlib
import hashlib
import json
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from stead_agent.metadata.interface import MetadataError

ANSWER_SECONDS: Final = 10.0

_SOCKET: Final = "control"
_MOST_BYTES: Final = 8 << 20  # user data has at most 16 KiB, but we do not limit tags and addresses
_READ_BYTES: Final = 65536


class NoAnswerError(MetadataError):
    """No process listens, or it ended before it answered."""


def code_version() -> str:
    """Return a text that identifies the version of this subsystem's code."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def listen(folder: Path) -> socket.socket:
    """Listen for the agent; the caller owns the folder, so an existing socket there was left by a dead process."""
    (folder / _SOCKET).unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    with _address(folder) as address:
        listener.bind(address)
    (folder / _SOCKET).chmod(0o600)
    listener.listen(64)
    return listener


def request(folder: Path, what: dict[str, Any], seconds: float = ANSWER_SECONDS) -> Any:
    """Send a request and return the result. Raises NoAnswerError, TimeoutError, and errors of the process."""
    with socket.socket(socket.AF_UNIX) as asking:
        asking.settimeout(seconds)
        try:
            with _address(folder) as address:
                asking.connect(address)
            send(asking, what)
            answer = receive(asking)
        except (FileNotFoundError, ConnectionError, ValueError) as failure:
            raise NoAnswerError(f"no metadata process answers in {folder}: {failure}") from failure
    if "error" in answer:
        raise MetadataError(answer["error"])
    return answer["result"]


def listening_process(folder: Path) -> int:
    """Return the id of the listening process; 0 when it is in another pid namespace (unix(7), SO_PEERCRED)."""
    with socket.socket(socket.AF_UNIX) as asking:
        asking.settimeout(ANSWER_SECONDS)
        with _address(folder) as address:
            asking.connect(address)
        return int.from_bytes(asking.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)[:4], sys.byteorder)


def send(to: socket.socket, what: dict[str, Any]) -> None:
    """Send one object, then shut down the sending side."""
    to.sendall(json.dumps(what).encode())
    to.shutdown(socket.SHUT_WR)


def receive(sender: socket.socket) -> dict[str, Any]:
    """Receive one object; raises ValueError when it is invalid or too long."""
    received = bytearray()
    while chunk := sender.recv(_READ_BYTES):
        received += chunk
        if len(received) > _MOST_BYTES:
            raise ValueError("too long")
    if not received:
        raise ConnectionAbortedError("nothing was sent")
    what = json.loads(received)
    if not isinstance(what, dict):
        raise ValueError("no object")  # noqa: TRY004 - one error for all invalid messages
    return what


@contextlib.contextmanager
def _address(folder: Path) -> Iterator[str]:
    """Return a path that fits the 108 bytes of sockaddr_un, however long the folder's path is."""
    handle = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{handle}/{_SOCKET}"
    finally:
        os.close(handle)
