"""Bandwidth of instances: a TCP connection reaches 0.95 to 1.03 of a type's figure, and limits cost little.

Run as root: python -m tests.bench.bandwidth [--rounds 15]. Two guests of one subnet, one of them limited. First what one
connection carries in each direction at several figures. Then, in turn, without limits and with some that are never
reached: bytes of one connection, and round trips of small datagrams.
"""

import argparse
import contextlib
import socket
import statistics
import threading
import time
from dataclasses import replace

from stead_agent.firewall import interface as fw
from stead_agent.network import interface as net
from tests.host.network.world import ANYWHERE, POOL, Guest, World, got, new_world, sent

FIGURES = (32, 100, 750)  # megabits per second: from t3.nano to m5.large
SECONDS, WARMING = 4.0, 0.5
LEAST, MOST = 0.95, 1.03
BYTES, ROUND_TRIPS = 64 << 20, 2000  # of a measurement
LEAST_RATIOS = {"sent": 0.95, "received": 0.95, "round trips": 0.8}
INSTANCE, NEVER_REACHED = "i-00000000000000001", 400_000
GROUP = fw.Group("sg-0000000000000000a", (sent(), got(1, "-1", ANYWHERE)))


def _limit(world: World, guest: Guest, figure: int | None) -> None:
    bandwidth = net.Bandwidth(INSTANCE, guest.vpc_id, figure, figure) if figure else None
    network, rules = world.vpcs[guest.vpc_id]
    interfaces = (replace(it, bandwidth=bandwidth) if it.id == guest.interface_id else it for it in network.interfaces)
    world.apply(replace(network, interfaces=tuple(interfaces)), rules)


def _connection(source: Guest, target: Guest, port: int) -> tuple[socket.socket, socket.socket]:
    with target.listen(port) as listener:
        client = source.open(socket.AF_INET, socket.SOCK_STREAM)
        for each in (client, listener):
            each.settimeout(30)
        client.connect((target.address, port))
        server, _ = listener.accept()
        server.settimeout(30)
    return client, server


def _megabits(source: Guest, target: Guest, port: int) -> float:
    """Megabits per second that one connection carries, without its first moment."""
    client, server = _connection(source, target, port)
    stop = threading.Event()

    def send() -> None:
        with contextlib.suppress(OSError):  # the receiver is gone
            while not stop.is_set():
                client.send(bytes(1 << 16))

    sender = threading.Thread(target=send)
    sender.start()
    end = time.monotonic() + WARMING
    while time.monotonic() < end:
        server.recv(1 << 18)
    begun, amount = time.monotonic(), 0
    while (now := time.monotonic()) < begun + SECONDS:
        amount += len(server.recv(1 << 18))
    stop.set()
    server.close()  # a sender that waits for room is refused
    with contextlib.suppress(OSError):
        client.shutdown(socket.SHUT_RDWR)
    sender.join()
    client.close()
    return amount * 8 / 1e6 / (now - begun)


def _transfer(source: Guest, target: Guest, port: int) -> float:
    """Megabytes per second of CPU time: sender, network and receiver are on one processor."""
    client, server = _connection(source, target, port)
    reader = threading.Thread(target=lambda: [None for _ in iter(lambda: server.recv(1 << 18), b"")])
    reader.start()
    begun = time.process_time()
    for _ in range(BYTES >> 18):
        client.sendall(bytes(1 << 18))
    client.shutdown(socket.SHUT_WR)
    reader.join()
    taken = time.process_time() - begun
    client.close()
    server.close()
    return BYTES / 1e6 / taken


def _round_trips(source: Guest, target: Guest, port: int) -> float:
    """Round trips per second of CPU time."""
    with source.udp(port) as one, target.udp(port) as two:
        for each in (one, two):
            each.settimeout(30)
        begun = time.process_time()
        for _ in range(ROUND_TRIPS):
            one.sendto(b"?", (target.address, port))
            two.sendto(two.recv(16), (source.address, port))
            one.recv(16)
        return ROUND_TRIPS / (time.process_time() - begun)


def _held(world: World, one: Guest, two: Guest) -> None:
    for port, figure in enumerate(FIGURES, 5000):
        _limit(world, one, figure)
        for way, (source, target) in (("sent", (one, two)), ("received", (two, one))):
            found = _megabits(source, target, port + (way == "sent") * 100)
            print(f"{figure} Mbit/s {way}: {found:.1f}, {found / figure:.3f} (limits {LEAST} and {MOST})")
            assert LEAST <= found / figure <= MOST


def _cost(world: World, one: Guest, two: Guest, rounds: int) -> None:
    found: dict[tuple[str, bool], list[float]] = {}
    for number in range(rounds):
        for limited in (False, True):
            _limit(world, one, NEVER_REACHED if limited else None)
            port = 6000 + 2 * number + limited
            found.setdefault(("sent", limited), []).append(_transfer(one, two, port))
            found.setdefault(("received", limited), []).append(_transfer(two, one, port))
            found.setdefault(("round trips", limited), []).append(_round_trips(one, two, port))
    for what in ("sent", "received", "round trips"):
        ratios = [with_it / without for without, with_it in zip(found[what, False], found[what, True], strict=True)]
        median = statistics.median(ratios)
        print(f"{what}: {median:.3f} of what it is without limits (limit {LEAST_RATIOS[what]})")
        for limited in (False, True):
            values = " ".join(f"{value:.0f}" for value in found[what, limited])
            print(f"  {'with' if limited else 'without'}, per second of CPU: {values}")
        assert median >= LEAST_RATIOS[what], what


def main() -> None:
    """Measure both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    with new_world() as world:
        world.start(net.HostNetwork((POOL,)))
        vpc = world.vpc("10.0.0.0/16", "10.0.1.0/24", groups=(GROUP,))
        one, two = world.guest(vpc, "10.0.1.10", GROUP.id), world.guest(vpc, "10.0.1.11", GROUP.id)
        _held(world, one, two)
        _cost(world, one, two, rounds)


if __name__ == "__main__":
    main()
