"""What clouds and rigs of the same test process may not have in common."""

from ipaddress import IPv4Network

from stead_cli.rig_plan import RigPlan
from tests.support.real_cloud import some_pool


def test_public_addresses_of_a_cloud_are_no_rigs():
    """The rig's guests would be out of reach: the way to addresses of a cloud's pool ends on its host."""
    rig = IPv4Network(RigPlan().network)
    pools = {some_pool() for _ in range(500)}
    assert len(pools) > 50
    assert not [pool for pool in pools if IPv4Network(pool).overlaps(rig)]
