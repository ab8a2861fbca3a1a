"""How long the network takes: the first VPC, an interface more, nothing, a look at everything, removal (P2, P4, P10).

Run as root: python -m tests.bench.network_changes. `Network.apply` and `Firewall.apply` with whole states, as the
reconciler calls them, on a host with 50 VPCs of 10 interfaces.
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import replace

from stead_agent.firewall import interface as fw
from stead_agent.network import interface as net
from tests.host.network.world import ANYWHERE, POOL, World, got, new_world, sent

VPCS, INTERFACES = 50, 10
GROUP = "sg-0000000000000000a"
# Of the 250 ms that a launch may take beside QEMU (P2), and what 20 of them at once may wait for (P4).
LIMITS = {"first VPC": 60.0, "interface": 15.0, "elsewhere": 30.0}  # the last one: P10
CHANGES = 20
ELSEWHERE = (100, 10_000)


def _states(number: int, interfaces: int) -> tuple[net.VpcNetwork, fw.VpcFirewall]:
    subnet = net.Subnet(f"subnet-{number:017x}", "10.0.1.0/24")
    link = net.subnet_link_name(subnet.id)
    ids = [f"eni-{number:08x}{n:09x}" for n in range(interfaces)]
    macs = [f"06:00:00:{number:02x}:00:{n:02x}" for n in range(interfaces)]
    addresses = [f"10.0.1.{10 + n}" for n in range(interfaces)]
    public = [f"198.51.{100 + number // 20}.{number % 20 * 12 + n + 2}" for n in range(interfaces)]
    network = net.VpcNetwork(
        f"vpc-{number:017x}",
        number,
        ("10.0.0.0/16",),
        (subnet,),
        tuple(
            net.LocalInterface(
                ids[n], subnet.id, macs[n], (addresses[n],), (net.PublicAddress(public[n], addresses[n]),)
            )
            for n in range(interfaces)
        ),
    )
    firewall = fw.VpcFirewall(
        network.vpc_id,
        (fw.Group(GROUP, (sent(), got(1, "tcp", ANYWHERE, 22, 22), got(2, "-1", GROUP)), frozenset(addresses)),),
        (fw.Subnet(link, internet=True),),
        tuple(
            fw.Interface(
                ids[n], net.tap_name(ids[n]), link, macs[n], (addresses[n],), (GROUP,),
                (fw.PublicAddress(public[n], addresses[n]),),
            )
            for n in range(interfaces)
        ),
        net.resolver_addresses(network.cidrs, (subnet.cidr,)),
    )  # fmt: skip
    return network, firewall


def _time(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return (time.perf_counter() - start) * 1e3


def _report(what: str, taken: list[float], limit: float | None = None) -> None:
    median = statistics.median(taken)
    raw = " ".join(f"{value:.1f}" for value in sorted(taken)[:: max(1, len(taken) // 8)])
    print(f"{what}: p50 {median:.1f} ms{f' (limit {limit:g})' if limit else ''}; {raw}")
    assert limit is None or median <= limit, what


def _measure(world: World) -> None:
    both: dict[str, list[float]] = {}

    def note(what: str, network: net.VpcNetwork, firewall: fw.VpcFirewall) -> None:
        one, two = _time(lambda: world.network.apply(network)), _time(lambda: world.firewall.apply(firewall))
        for name, value in (("network", one), ("firewall", two), ("both", one + two)):
            both.setdefault(f"{what}, {name}", []).append(value)

    for number in range(1, VPCS + 1):
        note("first VPC", *_states(number, 1))
    for interfaces in range(2, INTERFACES + 1):
        for number in range(1, VPCS + 1):
            note("interface more", *_states(number, interfaces))
    for number in range(1, VPCS + 1):
        note("nothing", *_states(number, INTERFACES))
    for what, taken in both.items():
        limit = next((value for start, value in LIMITS.items() if what.startswith(start)), None)
        _report(what, taken, limit if what.endswith("both") else None)
    _report(f"audit of {VPCS} VPCs, network", [_time(world.network.audit) for _ in range(3)])
    _report(f"audit of {VPCS} VPCs, firewall", [_time(world.firewall.audit) for _ in range(3)])
    assert world.network.audit() == world.firewall.audit() == ()
    _after_restart(world)
    gone = [
        _time(lambda vpc=vpc: (world.firewall.remove(vpc), world.network.remove(vpc)))  # type: ignore[misc]  # bound now
        for vpc in sorted(world.network.present())
    ]
    _report("removal of a VPC", gone)


def _after_restart(world: World) -> None:
    world.restart()
    host = replace(net.HostNetwork((POOL,)), public_pools=("198.51.96.0/20",))
    print(f"restart, host: {_time(lambda: world.start(host)):.1f} ms")
    both = [_states(number, INTERFACES) for number in range(1, VPCS + 1)]
    print(f"restart, {VPCS} VPCs, network: {_time(lambda: [world.network.apply(one) for one, _ in both]):.0f} ms")
    print(f"restart, {VPCS} VPCs, firewall: {_time(lambda: [world.firewall.apply(two) for _, two in both]):.0f} ms")


def _elsewhere(world: World, count: int) -> None:
    """Measure a VPC that has this many addresses on other hosts: one more must not depend on how many there are."""
    world.network.apply_host(net.HostNetwork(("198.51.96.0/20",), underlay_address="192.0.2.1"))
    remotes = [
        net.RemoteInterface(
            f"eni-{n:017x}",
            f"06:00:01:00:{n >> 8:02x}:{n & 255:02x}",
            (f"10.1.{n >> 8}.{n & 255}",),
            f"192.0.2.{2 + n % 50}",
        )
        for n in range(count + CHANGES)
    ]
    plain = _states(VPCS + 1, INTERFACES)[0]
    network = replace(plain, cidrs=("10.0.0.0/15",), remotes=tuple(remotes[:count]))
    print(f"first time with {count} addresses elsewhere: {_time(lambda: world.network.apply(network)):.0f} ms")
    taken = []
    for n in range(count + 1, count + CHANGES + 1):
        more = replace(network, remotes=tuple(remotes[:n]))
        taken.append(_time(lambda more=more: world.network.apply(more)))  # type: ignore[misc]  # bound now
    _report(f"one more than {count} addresses elsewhere", taken, LIMITS["elsewhere"])
    print(f"audit with {count}: {_time(world.network.audit):.0f} ms")
    world.network.remove(network.vpc_id)


def main() -> None:
    """Measure everything once, in one run."""
    with new_world() as world:
        world.start(net.HostNetwork(("198.51.96.0/20",)))
        _measure(world)
        for count in ELSEWHERE:
            _elsewhere(world, count)


if __name__ == "__main__":
    main()
