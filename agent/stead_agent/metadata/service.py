"""The metadata service of this host: the guest at each address of each VPC, and the sockets where it listens."""

import secrets
import socket
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from stead_agent.metadata.answers import Known, answer
from stead_agent.metadata.http import Request, Response
from stead_agent.metadata.interface import (
    ADDRESS,
    IPV6_ADDRESS,
    PORT,
    TIME_ADDRESS,
    TIME_IPV6_ADDRESS,
    TIME_PORT,
    Guest,
    MetadataError,
    PushedKey,
    Uses,
)
from stead_agent.metadata.namespace_socket import listen_in
from stead_agent.metadata.server import Peer, Server
from stead_agent.metadata.time_answers import read_clock
from stead_agent.metadata.time_server import TimeServer
from stead_agent.metadata.token_key import load_key

MOST_KEYS: Final = 100  # that a guest is shown at a time


class Metadata:
    """The MetadataService that does the serving; its token key is stored in the directory `state`."""

    def __init__(self, state: Path, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        state.mkdir(parents=True, exist_ok=True)
        self._process = secrets.token_hex(8)
        self._key = load_key(state / "metadata-token-key")
        # One thread changes these at a time; the server's thread reads the first without the lock.
        self._changing = threading.Lock()
        self._by_peer: dict[Peer, Known] = {}
        self._guests: dict[str, dict[str, Known]] = {}
        self._served: dict[str, tuple[int, int]] = {}
        self._server = Server(self._identify, self._answer)
        self._time = TimeServer(read_clock)

    def serve(self, vpc_id: str, namespace: Path) -> None:
        """Listen inside a VPC's namespace, unless we do already in this very one."""
        with self._changing:
            try:
                about = namespace.stat()
            except OSError as failure:
                raise MetadataError(f"{vpc_id} has no namespace {namespace}: {failure}") from failure
            # Cannot be the number of a later namespace: our socket keeps the old one alive.
            identity = (about.st_dev, about.st_ino)
            if self._served.get(vpc_id) == identity:
                return
            socks = [listen_in(namespace, address, PORT) for address in (ADDRESS, IPV6_ADDRESS)]
            of_time = [
                listen_in(namespace, address, TIME_PORT, socket.SOCK_DGRAM)
                for address in (TIME_ADDRESS, TIME_IPV6_ADDRESS)
            ]
            if self._served.pop(vpc_id, None):
                self._unlisten(vpc_id)
            for sock in socks:
                self._server.listen(vpc_id, sock)
            for sock in of_time:
                self._time.listen(vpc_id, sock)
            self._served[vpc_id] = identity

    def withdraw(self, vpc_id: str) -> None:
        """Stop listening in a VPC and forget its guests."""
        with self._changing:
            if self._served.pop(vpc_id, None):
                self._unlisten(vpc_id)
            for instance_id in list(self._guests.get(vpc_id, ())):
                self._remove(vpc_id, instance_id)

    def put(self, vpc_id: str, guest: Guest) -> None:
        """Answer for a guest from its next request on."""
        with self._changing:
            before = self._guests.get(vpc_id, {}).get(guest.instance_id)
            if before is None:
                known = Known(guest)
            else:
                known = before if before.guest == guest else Known(guest, before.pushed, before.counted)
            peers = {(vpc_id, address) for address in _addresses(guest, vpc_id)}
            self._by_peer.update(dict.fromkeys(peers, known))
            if before:
                self._release(vpc_id, before, keep=peers)
            self._guests.setdefault(vpc_id, {})[guest.instance_id] = known

    def push_key(self, instance_id: str, key: PushedKey) -> None:
        """Show a key to a guest, in each VPC that it has an interface in, until it expires."""
        with self._changing:
            found = {vpc_id: guests[instance_id] for vpc_id, guests in self._guests.items() if instance_id in guests}
            if not found:
                raise MetadataError(f"{instance_id} has no metadata here")
            for vpc_id, before in found.items():
                pushed = [each for each in before.pushed if self._clock() < each.expires]
                if len(pushed) >= MOST_KEYS:
                    raise MetadataError(f"{instance_id} has {MOST_KEYS} keys, and none has expired")
                known = Known(before.guest, (*pushed, key), before.counted)
                self._guests[vpc_id][instance_id] = known
                for address in _addresses(before.guest, vpc_id):
                    if self._by_peer.get((vpc_id, address)) is before:
                        self._by_peer[vpc_id, address] = known

    def remove(self, vpc_id: str, instance_id: str) -> None:
        """Forget a guest."""
        with self._changing:
            self._remove(vpc_id, instance_id)

    def uses(self) -> Mapping[str, Uses]:
        """Return how each guest has asked, by instance id, in all VPCs together."""
        found: dict[str, Uses] = {}
        with self._changing:
            for guests in self._guests.values():
                for instance_id, known in guests.items():
                    so_far = found.get(instance_id, Uses(self._process, 0, 0))
                    found[instance_id] = Uses(
                        self._process,
                        so_far.without_token + known.counted.without_token,
                        so_far.refused + known.counted.refused,
                    )
        return found

    def present(self) -> Mapping[str, frozenset[str]]:
        """List VPCs and the guests known in each."""
        with self._changing:
            return {vpc_id: frozenset(self._guests.get(vpc_id, ())) for vpc_id in {*self._served, *self._guests}}

    def close(self) -> None:
        """Stop listening everywhere and end the server's thread."""
        with self._changing:
            self._served.clear()
            self._guests.clear()
            self._by_peer.clear()
        self._server.close()
        self._time.close()

    def _unlisten(self, vpc_id: str) -> None:
        """Close the sockets of a VPC; the lock is held."""
        self._server.unlisten(vpc_id)
        self._time.unlisten(vpc_id)

    def _remove(self, vpc_id: str, instance_id: str) -> None:
        """Forget a guest; the lock is held."""
        guests = self._guests.get(vpc_id, {})
        known = guests.pop(instance_id, None)
        if known:
            self._release(vpc_id, known, keep=set())
        if not guests:
            self._guests.pop(vpc_id, None)

    def _release(self, vpc_id: str, known: Known, keep: set[Peer]) -> None:
        """Remove a guest's addresses, except those in `keep` or that belong to another guest by now."""
        for address in _addresses(known.guest, vpc_id):
            peer = (vpc_id, address)
            now = self._by_peer.get(peer)
            if peer not in keep and now and now.guest.instance_id == known.guest.instance_id:
                del self._by_peer[peer]

    def _identify(self, peer: Peer) -> str:
        """Return the guest's id at a peer; unknown clients are identified by their address."""
        known = self._by_peer.get(peer)
        return known.guest.instance_id if known else peer[1]

    def _answer(self, peer: Peer, request: Request) -> Response:
        """Answer a request for the guest that has the peer's address now."""
        return answer(self._by_peer.get(peer), request, self._key, self._clock(), by_ipv6=":" in peer[1])


def _addresses(guest: Guest, vpc_id: str) -> list[str]:
    """List a guest's addresses in a VPC."""
    return [
        address
        for interface in guest.interfaces
        if interface.vpc_id == vpc_id
        for address in (*interface.private_addresses, *interface.ipv6_addresses, interface.link_local_address)
        if address
    ]
