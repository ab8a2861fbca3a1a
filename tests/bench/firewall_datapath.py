"""Budget P9: with 10,000 rules and members the datapath keeps >= 0.95 of what it does with one rule.

Run as root: python -m tests.bench.firewall_datapath. Two guests of one subnet; A is a group with a single rule, B one
with 10,000 blocks of addresses, 990 single ports, and a reference to a group of 10,000 members that alone lets the
sender in. Measured in turn: bytes of one TCP connection, and new connections, each of which asks the rules once.
"""

import socket
import statistics
import struct
import threading
import time
from dataclasses import replace

from stead_agent.firewall import interface as fw
from stead_agent.network import interface as net
from tests.bench.firewall_changes import MEMBERS
from tests.host.network.world import ANYWHERE, POOL, Guest, World, got, new_world, sent

SECONDS, ROUNDS, LIMIT = 0.5, 21, 0.95
SENDER, RECEIVER, CROWD = (f"sg-0000000000000000{digit}" for digit in "abc")
_ABORT = struct.pack("ii", 1, 0)  # close without TIME_WAIT


def _throughput(one: Guest, two: Guest) -> float:
    """MB per second over one connection."""
    with two.listen(5000) as listener:
        client = one.connect(two.address, 5000)
        assert client is not None
        server, _ = listener.accept()
        client.setblocking(True)
        server.setblocking(True)
        received = [0]

        def drain() -> None:
            while data := server.recv(1 << 20):
                received[0] += len(data)

        reader = threading.Thread(target=drain)
        reader.start()
        block, end = bytes(1 << 20), time.monotonic() + SECONDS
        while time.monotonic() < end:
            client.sendall(block)
        client.close()
        reader.join()
        server.close()
    return received[0] / SECONDS / 1e6


def _connections(one: Guest, two: Guest) -> float:
    """New TCP connections per second, one after the other."""
    count = 0
    make = one.world.machine
    with two.listen(5001) as listener:

        def work() -> int:
            done, end = 0, time.monotonic() + SECONDS
            while time.monotonic() < end:
                with socket.create_connection((two.address, 5001), timeout=5) as client:
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
                    listener.accept()[0].close()
                done += 1
            return done

        listener.setblocking(True)
        count = make.inside(one.namespace, work)
    return count / SECONDS


def _groups(many: bool) -> tuple[fw.Group, ...]:
    if not many:
        return (fw.Group(SENDER, (sent(),)), fw.Group(RECEIVER, (got(1, "tcp", ANYWHERE),)))
    blocks = [got(n, "tcp", f"172.{16 + (n >> 8)}.{n & 255}.0/24", 22, 22) for n in range(4000)]
    blocks += [got(10_000 + n, "udp", f"192.168.{n & 255}.{n >> 8 << 3}/29", 53, 53) for n in range(6000)]
    others = [got(20_000 + n, "udp", ANYWHERE, 1000 + 2 * n, 1000 + 2 * n) for n in range(990)]
    reference = got(99_999, "tcp", CROWD, 1024, 65535)
    crowd = frozenset([*MEMBERS, "10.0.1.10"])
    return (fw.Group(SENDER, (sent(),)), fw.Group(RECEIVER, (*blocks, *others, reference)), fw.Group(CROWD, (), crowd))


def _measure(world: World, one: Guest, two: Guest) -> None:
    _, firewall = world.vpcs[one.vpc_id]
    found: dict[tuple[str, bool], list[float]] = {}
    for _ in range(ROUNDS):
        for many in (False, True):
            start = time.perf_counter()
            assert world.firewall.apply(replace(firewall, groups=_groups(many))) == ()
            found.setdefault(("apply ms", many), []).append((time.perf_counter() - start) * 1e3)
            found.setdefault(("MB/s", many), []).append(_throughput(one, two))
            found.setdefault(("connections/s", many), []).append(_connections(one, two))
    for what in ("MB/s", "connections/s"):
        few, many = (statistics.median(found[what, case]) for case in (False, True))
        limit = f"limit {LIMIT}" if what == "MB/s" else "no limit: what differs in its peers is asked one by one"
        print(f"{what}: {many:.0f} with 10,000 against {few:.0f} with one: {many / few:.3f} ({limit})")
        for case in (False, True):
            print(f"  {'10,000' if case else 'one'}: {' '.join(f'{value:.0f}' for value in found[what, case])}")
        assert what != "MB/s" or many / few >= LIMIT
    print(f"apply of 11,000 rules: {statistics.median(found['apply ms', True]):.0f} ms")


def main() -> None:
    """Measure both alternately in one run."""
    with new_world() as world:
        world.start(net.HostNetwork((POOL,)))
        vpc = world.vpc("10.0.0.0/16", "10.0.1.0/24", groups=_groups(many=False))
        one, two = world.guest(vpc, "10.0.1.10", SENDER), world.guest(vpc, "10.0.1.11", RECEIVER)
        _measure(world, one, two)


if __name__ == "__main__":
    main()
