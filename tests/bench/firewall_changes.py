"""Budget P10: a change of rules or members is in force within p50 <= 30 ms, however large the sets are.

Run as root: python -m tests.bench.firewall_changes. One VPC with 100 guests here, 10,000 members in the group that
their rules name, 200 rules in their own group. Measured is `Firewall.apply` with the whole state, as the
reconciler calls it: reading it, comparing, the transaction, ending flows.
"""

import os
import socket
import statistics
import struct
import time
from collections.abc import Callable
from dataclasses import replace

from stead_agent.firewall import interface as fw
from stead_agent.network import interface as net
from tests.host.network.world import ANYWHERE, POOL, World, got, new_world, sent

LIMIT, TIMES = 30.0, 40
SIZES, FLOWS = (10, 10_000, 10, 10_000), 20_000
OWN, CLIENTS = "sg-0000000000000000a", "sg-0000000000000000b"
MEMBERS = [f"10.{1 + (n >> 16)}.{n >> 8 & 255}.{n & 255}" for n in range(10_000)]


def _state(world: World, members: int, guests: int) -> fw.VpcFirewall:
    vpc = world.vpc("10.0.0.0/8", "10.0.0.0/16")
    network, firewall = world.vpcs[vpc]
    link = net.subnet_link_name(network.subnets[0].id)
    interfaces = tuple(
        fw.Interface(f"eni-{n:017x}", f"stt{n}", link, f"06:00:00:00:01:{n:02x}", (f"10.0.1.{n}",), (OWN,))
        for n in range(guests)
    )
    rules = [got(n, "tcp", f"192.168.{n}.0/24", 22, 22) for n in range(100)]
    rules += [got(100 + n, "tcp", ANYWHERE, 1000 + n, 1000 + n) for n in range(99)]
    groups = (
        fw.Group(OWN, (sent(), *rules, got(999, "udp", CLIENTS, 53, 53))),
        fw.Group(CLIENTS, (), frozenset(MEMBERS[:members])),
    )
    return replace(firewall, groups=groups, interfaces=interfaces)


def _time(work: Callable[[int], object], times: int = 0) -> list[float]:
    taken = []
    for number in range(times or TIMES):
        start = time.perf_counter()
        work(number)
        taken.append((time.perf_counter() - start) * 1e3)
    return taken


def _report(what: str, taken: list[float], *, limited: bool = True) -> None:
    median = statistics.median(taken)
    shown = " ".join(f"{value:.1f}" for value in sorted(taken)[:: max(1, len(taken) // 8)])
    print(f"{what}: p50 {median:.2f} ms{f' (limit {LIMIT:g})' if limited else ''}; {shown}")
    assert not limited or median <= LIMIT, what


def _changes(world: World, members: int) -> None:
    desired = _state(world, members, 100)
    apply = world.firewall.apply
    own, clients = desired.groups
    _report(f"first apply, {members} members", _time(lambda _: apply(desired), 1), limited=False)
    _report("the same again", _time(lambda _: apply(desired)))
    _report(
        "a rule more",
        _time(
            lambda n: apply(
                replace(
                    desired,
                    groups=(
                        replace(own, rules=(*own.rules, *(got(2000 + i, "udp", ANYWHERE, i, i) for i in range(n + 1)))),
                        clients,
                    ),
                )
            )
        ),
    )
    apply(desired)

    def rule_less(number: int) -> None:
        apply(replace(desired, groups=(replace(own, rules=own.rules[: 150 - number]), clients)))

    _report("a rule less, with a look for flows to end", _time(rule_less))
    apply(desired)
    _report(
        "a member more",
        _time(
            lambda n: apply(
                replace(desired, groups=(own, replace(clients, members=frozenset([*MEMBERS[:members], f"11.0.0.{n}"]))))
            )
        ),
    )
    apply(desired)
    _report(
        "a member less, with a look for flows to end",
        _time(
            lambda n: apply(
                replace(desired, groups=(own, replace(clients, members=frozenset(MEMBERS[:members]) - {MEMBERS[n]})))
            )
        ),
    )
    apply(desired)
    extra = fw.Interface(
        "eni-00000000000000fff", "sttfff", desired.interfaces[0].subnet_link, "06:00:00:00:0f:ff", ("10.0.3.1",), (OWN,)
    )

    def one_interface(number: int) -> None:
        extras = (extra,) if number % 2 == 0 else ()
        apply(replace(desired, interfaces=(*desired.interfaces, *extras)))

    _report("an interface more or less", _time(one_interface))
    world.firewall.remove(desired.vpc_id)


def _cutting(world: World, flows: int) -> None:
    """Revoke a rule while the VPC tracks many flows that stay allowed."""
    group = fw.Group(OWN, (sent(), got(1, "udp", ANYWHERE), got(2, "tcp", ANYWHERE, 22, 22)))
    vpc = world.vpc("10.0.0.0/16", "10.0.1.0/24", groups=(group,))
    one, two = world.guest(vpc, "10.0.1.10", OWN), world.guest(vpc, "10.0.1.11", OWN)
    with one.open(socket.AF_PACKET, socket.SOCK_RAW) as wire:
        from tests.host.firewall import frames as f

        wire.bind(("eth0", 0))
        for number in range(flows):
            datagram = struct.pack("!HHHH", 1024 + number % 60000, 1024 + number // 60000, 9, 0) + b"x"
            wire.send(f.ethernet(net.GATEWAY_MAC, one.mac, f.IPV4, f.ipv4(one.address, two.address, 17, datagram)))
            if number % 3000 == 0:
                time.sleep(0.8)  # below what a guest may begin each second
    world.settle()
    network, firewall = world.vpcs[vpc]
    for _ in range(3):
        closed = replace(group, rules=group.rules[:2])
        start = time.perf_counter()
        world.apply(network, replace(firewall, groups=(closed,)))
        print(f"a rule less among {flows} flows: {(time.perf_counter() - start) * 1e3:.0f} ms")
        world.apply(network, firewall)


def main() -> None:
    """Measure with few and with many members, one after the other, in one run."""
    with new_world() as world:
        os.sched_setaffinity(0, range(os.cpu_count() or 1))
        world.start(net.HostNetwork((POOL,)))
        for members in SIZES:
            _changes(world, members)
        _cutting(world, FLOWS)


if __name__ == "__main__":
    main()
