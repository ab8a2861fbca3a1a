"""FAULTS 4: the kernel and the model judge alike, through random changes; and changes add up to what is written whole."""

import random

import pytest

from stead_agent.firewall import interface as fw
from stead_agent.firewall.cleaning import cleaned
from stead_agent.firewall.kernel import _comparable
from stead_agent.firewall.nftables import Nft
from stead_agent.firewall.table import whole
from stead_agent.firewall.vpc_ruleset import table_of
from stead_agent.network import interface as net
from tests.host.firewall.oracle import Oracle
from tests.host.network.world import LINKS, POOL, World, new_world


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_kernel_agrees_with_the_model(seed: int) -> None:
    """Longer runs: python -m tests.bench.firewall_oracle."""
    with new_world() as world:
        world.start(net.HostNetwork((POOL,)))
        oracle = Oracle(world, random.Random(seed))
        oracle.start()
        for _ in range(12):
            assert oracle.disagreements() == []
            assert oracle.flows_disagree() == []
            oracle.change()
        _is_as_written_whole(world, oracle.desired)


def _is_as_written_whole(world: World, desired: fw.VpcFirewall) -> None:
    """After many small transactions the kernel holds the same table as after one that makes it from nothing."""
    world.machine.create("vpc-scratch")
    scratch = world.machine.inside("vpc-scratch", Nft)
    grown = world.namespaces.inside(desired.vpc_id, Nft)
    try:
        scratch.run(whole(table_of(cleaned(desired), LINKS)))
        tables = [sorted(map(_comparable, nft.list("list table inet stead"))) for nft in (scratch, grown)]
    finally:
        scratch.close()
        grown.close()
    assert tables[0] == tables[1]
