"""Budget P12: between hosts a VPC's path carries >= 0.95 of a VXLAN network built by hand; nothing is fragmented.

Run as root: python -m tests.bench.vxlan [--rounds 250]. Two hosts in namespaces, joined by an underlay of MTU 1600, with
four pairs of guests: one in a subnet of a VPC as the agent's network makes it; two as docs/data-plane.md says, built by
hand (a bridge, a routing namespace with a VXLAN device in it), with rules that lead to route tables and without; and one on
bridges with a VXLAN device as a port, which has neither overlapping blocks, route tables of subnets, nor a place for
groups. Measured in turn: bytes of one TCP connection, and round trips of small datagrams. All of it is on one processor, and
what is counted are the seconds of it that guests and network took, so that what else the machine does counts for little. A
turn takes some 10 ms and their order is another in each round, since a machine's pace drifts by more in a second than the
paths differ; what is printed is the median of all rounds' ratios, and its error.
"""

import argparse
import os
import random
import statistics
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from pyroute2 import IPRoute

from stead_agent.network import interface as net
from tests.host.network.hosts import Cloud, new_cloud, underlay_address
from tests.host.network.world import Guest
from tests.support.waiting import wait_for

LIMIT = 0.95
BYTES, ROUND_TRIPS = 16 << 20, 300  # of a measurement
_BLOCK = 1 << 18
_MTU = 1500
_FLAT, _PLAIN, _RULED = "10.98.0", "10.99.0", "10.97.0"  # subnets of the pairs by hand
_PORTS = {_FLAT: 4790, _PLAIN: 4791, _RULED: 4792}  # of their VXLAN devices: not the agent's 4789
_ONLINK, _PERMANENT = 4, 0x80  # linux/rtnetlink.h, linux/neighbour.h


def _guests(cloud: Cloud, name: str, plug: Callable[[Cloud, int, int], None], subnet: str) -> tuple[Guest, Guest]:
    """Make a guest on each host; `plug` is given the cloud, the host's number and the guest's namespace."""
    made = []
    for number, host in enumerate(cloud.hosts):
        guest = Guest(host, name, f"eni-0{number:016x}", "", f"{subnet}.{number + 10}", f"vpc-{name}{number}")
        host.machine.create(guest.namespace)
        plug(cloud, number, host.machine.open(guest.namespace))
        host.machine.inside(guest.namespace, lambda guest=guest: _configure(guest.address, subnet))  # type: ignore[misc]  # bound now
        made.append(guest)
    return made[0], made[1]


def _configure(address: str, subnet: str) -> None:
    with IPRoute() as ip:
        (index,) = ip.link_lookup(ifname="eth0")
        ip.addr("add", index=index, address=address, prefixlen=24 if subnet == _FLAT else 32)
        ip.link("set", index=index, state="up")
        if subnet != _FLAT:
            ip.route("add", dst=f"{subnet}.1/32", oif=index, scope=253)
            ip.route("add", dst="default", gateway=f"{subnet}.1", oif=index)


def _plug_bridged(cloud: Cloud, number: int, guest: int) -> None:
    """Make a bridge with a VXLAN device and the guest's link as its ports."""

    def work() -> None:
        with IPRoute() as ip:
            _add_vxlan(ip, "flatvx", number, 4242, _PORTS[_FLAT])
            _add_bridge(ip, "flat", guest)
            (bridge,) = ip.link_lookup(ifname="flat")
            ip.link("set", index=ip.link_lookup(ifname="flatvx")[0], master=bridge, state="up")

    cloud.hosts[number].machine.inside("vpc-host", work)


def _plug_plain(cloud: Cloud, number: int, guest: int) -> None:
    """Make a bridge, and a namespace that routes between it and a VXLAN device without learning or flooding."""
    _plug_routed(cloud, number, guest, _PLAIN)


def _plug_ruled(cloud: Cloud, number: int, guest: int) -> None:
    """Make the same with rules that lead to route tables."""
    machine = cloud.hosts[number].machine
    router = _plug_routed(cloud, number, guest, _RULED)

    def rules() -> None:
        with IPRoute() as ip:
            ip.rule("add", priority=100, table=100, iifname="lo")  # what the namespace itself asks
            ip.rule("add", priority=300, table=101, iifname="sub")  # what the subnet's routes say beyond the VPC

    machine.inside(router, rules)


def _plug_routed(cloud: Cloud, number: int, guest: int, subnet: str) -> str:
    """Make the host's and the router's side; give the router's name."""
    machine, port = cloud.hosts[number].machine, _PORTS[subnet]
    router, bridge_name, device = f"vpc-router{port}{number}", f"hand{port}", f"vx{port}"
    machine.create(router)
    inner = machine.open(router)

    def host_side() -> None:
        with IPRoute() as ip:
            _add_bridge(ip, bridge_name, guest)
            (bridge,) = ip.link_lookup(ifname=bridge_name)
            outer, peer = f"{bridge_name}g", {"ifname": "sub", "net_ns_fd": inner, "mtu": _MTU}
            ip.link("add", ifname=outer, kind="veth", mtu=_MTU, peer=peer)
            ip.link("set", index=ip.link_lookup(ifname=outer)[0], master=bridge, state="up")
            _add_vxlan(ip, device, number, port, port)
            ip.link("set", index=ip.link_lookup(ifname=device)[0], net_ns_fd=inner)

    def router_side() -> None:
        Path("/proc/sys/net/ipv4/ip_forward").write_text("1", encoding="ascii")
        other = underlay_address(1 - number)
        with IPRoute() as ip:
            (sub,), (tunnel,) = ip.link_lookup(ifname="sub"), ip.link_lookup(ifname=device)
            ip.addr("add", index=sub, address=f"{subnet}.1", prefixlen=24)
            ip.link("set", index=sub, state="up")
            ip.link("set", index=tunnel, address=_mac(number), state="up")
            ip.route("add", dst=f"{subnet}.{11 - number}/32", gateway=other, oif=tunnel, flags=_ONLINK)
            ip.neigh("add", dst=other, lladdr=_mac(1 - number), ifindex=tunnel, state=_PERMANENT)

    machine.inside("vpc-host", host_side)
    machine.inside(router, router_side)
    return router


def _mac(number: int) -> str:
    return f"02:00:00:00:99:{number:02x}"


def _add_vxlan(ip: Any, name: str, number: int, vni: int, port: int) -> None:
    (under,) = ip.link_lookup(ifname="under0")
    ip.link(
        "add", ifname=name, kind="vxlan", mtu=_MTU, vxlan_id=vni, vxlan_link=under, vxlan_local=underlay_address(number),
        vxlan_group=underlay_address(1 - number), vxlan_port=port, vxlan_learning=False,
    )  # fmt: skip


def _add_bridge(ip: Any, name: str, guest: int) -> None:
    """Make a bridge with the guest's link as a port."""
    ip.link("add", ifname=name, kind="bridge", mtu=_MTU)
    ip.link("add", ifname=f"{name}tap", kind="veth", mtu=_MTU, peer={"ifname": "eth0", "net_ns_fd": guest, "mtu": _MTU})
    (bridge,), (tap,) = ip.link_lookup(ifname=name), ip.link_lookup(ifname=f"{name}tap")
    ip.link("set", index=tap, master=bridge, state="up")
    ip.link("set", index=bridge, state="up")


class Clock:
    """Processor seconds of this process, in whose system calls most packets are handled, and of the kernel's thread."""

    def __init__(self) -> None:
        """Find the kernel's thread for this processor: ksoftirqd (kernel/softirq.c)."""
        [processor] = os.sched_getaffinity(0)
        name = f"ksoftirqd/{processor}\n"
        [self._thread] = [each.parent for each in Path("/proc").glob("[0-9]*/comm") if _read(each) == name]

    def __call__(self) -> float:
        """Give seconds, which begin anywhere."""
        nanoseconds = _read(self._thread / "schedstat").split()[0]  # Documentation/scheduler/sched-stats.rst
        return time.process_time() + int(nanoseconds) / 1e9


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except (FileNotFoundError, ProcessLookupError):  # a process that has ended
        return ""


class Pair:
    """Two guests with a connection and a pair of datagram sockets that stay open, so that each turn finds them warm."""

    def __init__(self, clock: Clock, one: Guest, two: Guest) -> None:
        """Connect them."""
        self._clock = clock
        with two.listen(5000) as listener:
            client = one.connect(two.address, 5000)
            assert client is not None
            self._client, (self._server, _) = client, listener.accept()
        self._echo, self._asker = two.udp(5001), one.udp()
        for each in (self._client, self._server, self._echo, self._asker):
            each.settimeout(20)
        self._asker.connect((two.address, 5001))
        self._block, self._room = bytes(_BLOCK), bytearray(1 << 20)

    def throughput(self) -> float:
        """MB per processor second."""
        reader = threading.Thread(target=self._drain)
        began = self._clock()
        reader.start()
        for _ in range(BYTES // _BLOCK):
            self._client.sendall(self._block)
        reader.join()
        return BYTES / (self._clock() - began) / 1e6

    def _drain(self) -> None:
        left = BYTES
        while left > 0:
            left -= self._server.recv_into(self._room, min(left, len(self._room)))

    def round_trips(self) -> float:
        """Round trips of a small datagram per processor second, one after the other."""
        began = self._clock()
        for _ in range(ROUND_TRIPS):
            self._asker.send(b"probe")
            self._echo.sendto(*self._echo.recvfrom(100))
            self._asker.recv(100)
        return ROUND_TRIPS / (self._clock() - began)


def _fragments(cloud: Cloud, vpc_id: str) -> int:
    """How many fragments were made anywhere on the path."""
    texts = [host.machine.inside("vpc-host", _snmp) for host in cloud.hosts]
    texts += [host.namespaces.inside(vpc_id, _snmp) for host in cloud.hosts]
    return sum(texts)


def _snmp() -> int:
    lines = Path("/proc/thread-self/net/snmp").read_text(encoding="ascii").splitlines()
    names, values = (line.split()[1:] for line in lines[:2])
    return int(dict(zip(names, values, strict=True))["FragCreates"])


def _report(what: str, measure: Callable[[Pair], float], pairs: dict[str, Pair], rounds: int) -> dict[str, float]:
    """Print the figures, and return what of each path's the agent's has: the median of all rounds' ratios."""
    found: dict[str, list[float]] = {name: [] for name in pairs}
    order = list(pairs)
    for turn in range(-3, rounds):  # the first ones warm up
        random.shuffle(order)
        for name in order:
            value = measure(pairs[name])
            if turn >= 0:
                found[name].append(value)
    ratios = {}
    for name, values in found.items():
        each = [ours / theirs for ours, theirs in zip(found["stead"], values, strict=True)]
        first, ratios[name], third = statistics.quantiles(each, n=4)
        error = 1.25 * (third - first) / 1.35 / rounds**0.5
        print(f"{what}, {name}: median {statistics.median(values):.0f}, quartiles {_quartiles(values)}")
        print(f"  stead has {ratios[name]:.3f} of it (standard error {error:.3f})", flush=True)
    return ratios


def _quartiles(values: list[float]) -> str:
    first, _, third = statistics.quantiles(values, n=4)
    return f"{first:.0f} and {third:.0f}"


def main() -> None:
    """Measure all, one after the other, in one run."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=250)
    rounds = parser.parse_args().rounds
    with new_cloud(2) as cloud:
        vpc = cloud.vpc("10.0.0.0/16", "10.0.1.0/24")
        cloud.route(vpc, 0, net.TableRoute("0.0.0.0/0", net.RouteTo.INTERNET))
        guests = {
            "stead": (cloud.guest(vpc, 0, "10.0.1.10"), cloud.guest(vpc, 1, "10.0.1.11")),
            "by hand": _guests(cloud, "hand", _plug_ruled, _RULED),
            "by hand, without rules": _guests(cloud, "plain", _plug_plain, _PLAIN),
            "bridges alone": _guests(cloud, "flat", _plug_bridged, _FLAT),
        }
        for one, two in guests.values():
            wait_for(partial(one.pings, two.address), "the guests to reach each other")
        clock = Clock()
        pairs = {name: Pair(clock, *each) for name, each in guests.items()}
        before = _fragments(cloud, vpc)
        throughput = _report("MB/s", Pair.throughput, pairs, rounds)
        _report("round trips/s", Pair.round_trips, pairs, rounds)
        made = _fragments(cloud, vpc) - before
    lowest = min(throughput["by hand"], throughput["by hand, without rules"])
    print(
        f"P12: {throughput['by hand']:.3f} of the one by hand, {throughput['by hand, without rules']:.3f} of one without "
        f"rules (limit {LIMIT}), {made} fragments at the MTU of {_MTU} (limit 0); load {os.getloadavg()[0]:.1f}"
    )
    assert made == 0
    assert lowest >= LIMIT


if __name__ == "__main__":
    main()
