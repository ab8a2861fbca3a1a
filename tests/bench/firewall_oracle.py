"""FAULTS 4: random clouds, changes and packets; 0 disagreements with the models in 100,000 packets.

Run as root: python -m tests.bench.firewall_oracle [packets] [seed]. A third of the packets goes between the guests of
one VPC, whose flows go on through random changes of groups; a third through random clouds on one host, and a third
through random clouds across two.
"""

import random
import sys
import time

from stead_agent.network import interface as net
from tests.host.firewall.hosts import new_hosts
from tests.host.firewall.oracle import Oracle
from tests.host.firewall.random_cloud import fixed_cloud, on_one_host
from tests.host.firewall.reach_oracle import ReachOracle
from tests.host.network.world import POOL, new_world


def _groups(wanted: int, seed: int) -> tuple[int, int]:
    """Change groups while flows go on; give the packets and the changes."""
    changes = 0
    with new_world() as world:
        world.start(net.HostNetwork((POOL,)))
        oracle = Oracle(world, random.Random(seed))
        oracle.start()
        while oracle.packets < wanted:
            wrong = oracle.disagreements() + oracle.flows_disagree()
            assert not wrong, f"seed {seed}, {oracle.packets} packets, {changes} changes: {wrong}"
            oracle.change()
            changes += 1
    return oracle.packets, changes


def _clouds(wanted: int, seed: int, *names: str) -> tuple[int, int]:
    """Make one cloud after another; give the packets and the clouds."""
    clouds = 0
    cloud = fixed_cloud(peered=True)
    with new_hosts(*names) as hosts:
        oracle = ReachOracle(hosts, cloud if len(names) > 1 else on_one_host(cloud))
        oracle.start(random.Random(seed))
        while oracle.packets < wanted:
            chance = random.Random(seed + clouds)
            oracle.vary(chance)
            wrong = oracle.disagreements(chance, 200)
            assert not wrong, f"seed {seed + clouds}, {oracle.packets} packets on {names}: {wrong}"
            clouds += 1
    return oracle.packets, clouds


def main() -> None:
    """Print packets, changes and disagreements; fail at the first of those."""
    wanted = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(10**9)
    third = wanted // 3 + 1
    for what, names in (
        ("changes of groups", ()),
        ("clouds on one host", ("a",)),
        ("clouds on two hosts", ("a", "b")),
    ):
        start = time.monotonic()
        packets, changes = _clouds(third, seed, *names) if names else _groups(third, seed)
        print(
            f"seed {seed}: {packets} packets, {changes} {what}, 0 disagreements (limit 0) "
            f"in {time.monotonic() - start:.0f} s"
        )


if __name__ == "__main__":
    main()
