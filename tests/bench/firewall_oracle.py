"""FAULTS 4: random security groups, changes and packets; 0 disagreements with the model in 100,000 packets.

Run as root: python -m tests.bench.firewall_oracle [packets] [seed].
"""

import random
import sys
import time

from stead_agent.network import interface as net
from tests.host.firewall.oracle import Oracle
from tests.host.network.world import POOL, new_world


def main() -> None:
    """Print packets, changes and disagreements; fail at the first of those."""
    wanted = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(10**9)
    start, changes = time.monotonic(), 0
    with new_world() as world:
        world.start(net.HostNetwork((POOL,)))
        oracle = Oracle(world, random.Random(seed))
        oracle.start()
        while oracle.packets < wanted:
            wrong = oracle.disagreements() + oracle.flows_disagree()
            assert not wrong, f"seed {seed}, {oracle.packets} packets, {changes} changes: {wrong}"
            oracle.change()
            changes += 1
    print(
        f"seed {seed}: {oracle.packets} packets, {changes} changes, 0 disagreements (limit 0) "
        f"in {time.monotonic() - start:.0f} s"
    )


if __name__ == "__main__":
    main()
