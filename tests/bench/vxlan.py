"""Budget P12: between hosts a VPC's path carries >= 0.95 of a VXLAN network built by hand; nothing is fragmented.

Run as root: python -m tests.bench.vxlan. Two hosts in namespaces, joined by an underlay of MTU 1600, with three pairs of
guests: one in a subnet of a VPC as the agent's network makes it; one as DESIGN, section 4, says it, built by hand (a
bridge, a routing namespace with a VXLAN device in it, and rules that lead to route tables, which take 7 % of the packets
of one without); and one on bridges with a VXLAN device as a port, which has neither overlapping blocks, route tables of
subnets, nor a place for groups. Measured in turn: bytes of one TCP connection, and round trips of small
datagrams. All of it is on one processor, so what a packet costs is what is measured.
"""

import statistics
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pyroute2 import IPRoute

from tests.host.network.hosts import Cloud, new_cloud, underlay_address
from tests.host.network.world import Guest

SECONDS, ROUNDS, LIMIT = 0.5, 21, 0.95
_MTU = 1500
_FLAT, _ROUTED = "10.98.0", "10.99.0"  # subnets of the pairs by hand; their VXLAN ports are not the agent's 4789
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
        if subnet == _ROUTED:
            ip.route("add", dst=f"{subnet}.1/32", oif=index, scope=253)
            ip.route("add", dst="default", gateway=f"{subnet}.1", oif=index)


def _plug_bridged(cloud: Cloud, number: int, guest: int) -> None:
    """Make a bridge with a VXLAN device and the guest's link as its ports."""

    def work() -> None:
        with IPRoute() as ip:
            _add_vxlan(ip, "flatvx", number, 4242, 4790)
            _add_bridge(ip, "flat", guest)
            (bridge,) = ip.link_lookup(ifname="flat")
            ip.link("set", index=ip.link_lookup(ifname="flatvx")[0], master=bridge, state="up")

    cloud.hosts[number].machine.inside("vpc-host", work)


def _plug_routed(cloud: Cloud, number: int, guest: int) -> None:
    """Make a bridge, and a namespace that routes between it and a VXLAN device without learning or flooding."""
    machine = cloud.hosts[number].machine
    router = f"vpc-router{number}"
    machine.create(router)
    inner = machine.open(router)

    def host_side() -> None:
        with IPRoute() as ip:
            _add_bridge(ip, "hand", guest)
            (bridge,) = ip.link_lookup(ifname="hand")
            ip.link(
                "add", ifname="handg", kind="veth", mtu=_MTU, peer={"ifname": "sub", "net_ns_fd": inner, "mtu": _MTU}
            )
            ip.link("set", index=ip.link_lookup(ifname="handg")[0], master=bridge, state="up")
            _add_vxlan(ip, "handvx", number, 4243, 4791)
            ip.link("set", index=ip.link_lookup(ifname="handvx")[0], net_ns_fd=inner)

    def router_side() -> None:
        Path("/proc/sys/net/ipv4/ip_forward").write_text("1", encoding="ascii")
        other = underlay_address(1 - number)
        with IPRoute() as ip:
            (sub,), (tunnel,) = ip.link_lookup(ifname="sub"), ip.link_lookup(ifname="handvx")
            ip.addr("add", index=sub, address=f"{_ROUTED}.1", prefixlen=24)
            ip.link("set", index=sub, state="up")
            ip.link("set", index=tunnel, address=_mac(number), state="up")
            ip.route("add", dst=f"{_ROUTED}.{11 - number}/32", gateway=other, oif=tunnel, flags=_ONLINK)
            ip.neigh("add", dst=other, lladdr=_mac(1 - number), ifindex=tunnel, state=_PERMANENT)
            ip.rule("add", priority=100, table=100, iifname="lo")  # what the namespace itself asks
            ip.rule("add", priority=300, table=101, iifname="sub")  # what the subnet's routes say beyond the VPC

    machine.inside("vpc-host", host_side)
    machine.inside(router, router_side)


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
        block, end = bytes(1 << 18), time.monotonic() + SECONDS
        while time.monotonic() < end:
            client.sendall(block)
        client.close()
        reader.join()
        server.close()
    return received[0] / SECONDS / 1e6


def _round_trips(one: Guest, two: Guest) -> float:
    """Round trips of a small datagram per second, one after the other."""
    with two.udp(5001) as echo, one.udp() as asker:
        for each in (echo, asker):
            each.setblocking(True)
            each.settimeout(5)
        asker.connect((two.address, 5001))
        done, end = 0, time.monotonic() + SECONDS
        while time.monotonic() < end:
            asker.send(b"probe")
            echo.sendto(*echo.recvfrom(100))
            asker.recv(100)
            done += 1
    return done / SECONDS


def _fragments(cloud: Cloud, vpc_id: str) -> int:
    """How many fragments were made anywhere on the path."""
    texts = [host.machine.inside("vpc-host", _snmp) for host in cloud.hosts]
    texts += [host.namespaces.inside(vpc_id, _snmp) for host in cloud.hosts]
    return sum(texts)


def _snmp() -> int:
    lines = Path("/proc/thread-self/net/snmp").read_text(encoding="ascii").splitlines()
    names, values = (line.split()[1:] for line in lines[:2])
    return int(dict(zip(names, values, strict=True))["FragCreates"])


def _report(what: str, measure: Callable[[Guest, Guest], float], pairs: dict[str, tuple[Guest, Guest]]) -> float:
    """Print the figures, and return what of the path by hand the agent's has: the median of all turns' ratios."""
    found: dict[str, list[float]] = {name: [] for name in pairs}
    for turn in range(ROUNDS):
        for name in list(pairs)[:: 1 if turn % 2 else -1]:
            found[name].append(measure(*pairs[name]))
    ratios = {
        name: statistics.median(ours / theirs for ours, theirs in zip(found["stead"], found[name], strict=True))
        for name in pairs
    }
    for name, values in found.items():
        print(f"{what}, {name}: median {statistics.median(values):.0f}; {' '.join(f'{value:.0f}' for value in values)}")
        print(f"  stead has {ratios[name]:.3f} of it")
    return ratios["by hand"]


def main() -> None:
    """Measure all in turn in one run."""
    with new_cloud(2) as cloud:
        vpc = cloud.vpc("10.0.0.0/16", "10.0.1.0/24")
        pairs = {
            "stead": (cloud.guest(vpc, 0, "10.0.1.10"), cloud.guest(vpc, 1, "10.0.1.11")),
            "by hand": _guests(cloud, "hand", _plug_routed, _ROUTED),
            "bridges alone": _guests(cloud, "flat", _plug_bridged, _FLAT),
        }
        for one, two in pairs.values():
            assert one.pings(two.address) or one.pings(two.address)  # the first may wait for ARP
        before = _fragments(cloud, vpc)
        throughput = _report("MB/s", _throughput, pairs)
        _report("round trips/s", _round_trips, pairs)
        made = _fragments(cloud, vpc) - before
        print(
            f"P12: {throughput:.3f} of the one by hand (limit {LIMIT}), {made} fragments at the MTU of {_MTU} (limit 0)"
        )
        assert made == 0
        assert throughput >= LIMIT


if __name__ == "__main__":
    main()
