"""The relay of a host: `python -m stead_agent.endpoints FD STATE CONTROLLER…`, started by the agent, ends with it.

On FD, a socket, the agent sends one JSON object per line, each with one answer:
{"endpoints": [{"id", "namespace", "ports", "controller_port"}, …]} is the complete list; the answer is {} or
{"error": text}. STATE has the host's certificate. It is a separate process so that guests' traffic takes no time from
the agent.
"""

import asyncio
import json
import logging
import os
import resource
import signal
import socket
import ssl
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from stead_agent.endpoints.relay import Relay, Way

log = logging.getLogger("stead_agent.endpoints")

_BACKLOG: Final = 512
_MOST_OPEN: Final = 1 << 15
_LINE: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class _Place:
    """The listening sockets of one endpoint, and the identity of its namespace (a later one may have the same name)."""

    id: str
    namespace: str
    identity: int
    ports: tuple[int, ...]
    controller_port: int


class Program:
    """The relays of this host."""

    def __init__(self, state: Path, controllers: tuple[str, ...]) -> None:
        self._way = Way(controllers, _Certificate(state).context)
        self._relays: dict[_Place, Relay] = {}

    async def apply(self, wanted: list[dict[str, Any]]) -> None:
        """Listen for exactly these endpoints; raises OSError, after all others were applied."""
        places = {_place(each) for each in wanted}
        for place in self._relays.keys() - places:
            await self._relays.pop(place).close()
        failures = []
        for place in sorted(places - self._relays.keys(), key=lambda each: each.id):
            relay = Relay(place.id, place.controller_port, self._way)
            try:
                listeners = await asyncio.to_thread(_listen_in, place)
            except OSError as failure:
                failures.append(f"{place.id}: {failure}")
                continue
            await relay.listen(listeners)
            self._relays[place] = relay
        if failures:
            raise OSError("; ".join(failures))

    async def run(self, agent: socket.socket) -> None:
        """Handle the agent's requests until it closes the connection."""
        reader, writer = await asyncio.open_connection(sock=agent, limit=_LINE)
        while line := await reader.readline():
            answer: dict[str, str] = {}
            try:
                await self.apply(json.loads(line)["endpoints"])
            except (OSError, ValueError, KeyError, TypeError) as failure:
                answer["error"] = str(failure)
            writer.write(json.dumps(answer).encode() + b"\n")
            await writer.drain()
        for relay in self._relays.values():
            await relay.close()


class _Certificate:
    """The host's certificate, read again when it was renewed."""

    def __init__(self, state: Path) -> None:
        self._ca, self._identity = state / "ca.pem", state / "identity.pem"
        self._known: tuple[tuple[int, int], ssl.SSLContext] | None = None

    def context(self) -> ssl.SSLContext:
        """Return the TLS context for connections to controllers; raises OSError."""
        changed = self._identity.stat().st_mtime_ns, self._ca.stat().st_mtime_ns
        if self._known is None or self._known[0] != changed:
            context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=str(self._ca))
            context.load_cert_chain(self._identity)
            self._known = changed, context
        return self._known[1]


def _place(said: dict[str, Any]) -> _Place:
    path = Path(said["namespace"])
    identity = path.stat().st_ino
    return _Place(str(said["id"]), str(path), identity, tuple(map(int, said["ports"])), int(said["controller_port"]))


def _listen_in(place: _Place) -> list[socket.socket]:
    """Open listening sockets inside a namespace; they stay there. A thread of its own enters, and ends: setns(2)."""
    made: list[socket.socket] = []
    failures: list[OSError] = []

    def enter_and_listen() -> None:
        try:
            file = os.open(place.namespace, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.setns(file, os.CLONE_NEWNET)
            finally:
                os.close(file)
            made.extend(_listen(port) for port in place.ports)
        except OSError as failure:
            failures.append(failure)

    thread = threading.Thread(target=enter_and_listen, name="endpoint-listen")
    thread.start()
    thread.join()
    if failures:
        for listener in made:
            listener.close()
        raise failures[0]
    return made


def _listen(port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        sock.bind(("0.0.0.0", port))
        sock.listen(_BACKLOG)
    except OSError:
        sock.close()
        raise
    return sock


def main(number: int, state: Path, controllers: tuple[str, ...]) -> None:
    """Relay until the agent closes the connection."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    os.umask(0o077)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, _MOST_OPEN), most))
    agent = socket.socket(fileno=number)
    agent.setblocking(False)
    asyncio.run(Program(state, controllers).run(agent))


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]), tuple(sys.argv[3:]))
