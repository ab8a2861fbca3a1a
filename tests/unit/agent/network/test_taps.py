"""Which taps need what, to be as libvirt made them."""

from dataclasses import replace

import pytest

from stead_agent.network import interface as net
from stead_agent.network.kernel_objects import Tap
from stead_agent.network.readings import Link
from stead_agent.network.taps import damaged

SUBNET = net.Subnet("subnet-1", "10.0.0.0/24")
VPC = net.VpcNetwork(
    "vpc-1",
    1,
    ("10.0.0.0/16",),
    (SUBNET,),
    (net.LocalInterface("eni-1", SUBNET.id, "06:00:00:00:00:01", ("10.0.0.4",)),),
    mtu=1450,
)
BRIDGE = Link(7, net.bridge_name(SUBNET.id), "bridge", "stead vpc-1 subnet-1", 1450, "", 0, 0, is_up=True)
TAP = Link(9, net.tap_name("eni-1"), "tun", "", 1450, "", BRIDGE.index, 0, is_up=True, is_isolated=True)
WANTED = Tap(TAP.name, BRIDGE.name, 1450, is_isolated=True, is_up=True)


def test_one_that_is_well_is_left_alone() -> None:
    assert list(damaged(VPC, [BRIDGE, TAP])) == []


@pytest.mark.parametrize(
    ("found", "old"),
    [
        (replace(TAP, is_up=False), replace(WANTED, is_up=False)),
        (replace(TAP, master=0), replace(WANTED, master="")),
        (replace(TAP, master=99), replace(WANTED, master="")),
        (replace(TAP, is_isolated=False), replace(WANTED, is_isolated=False)),
        (replace(TAP, mtu=900), replace(WANTED, mtu=900)),
    ],
)
def test_each_damage_is_mended(found: Link, old: Tap) -> None:
    assert [(change.old, change.new) for change in damaged(VPC, [BRIDGE, found])] == [(old, WANTED)]


def test_what_is_not_there_or_not_a_guests_is_left_alone() -> None:
    assert list(damaged(VPC, [BRIDGE])) == []
    assert list(damaged(VPC, [replace(TAP, is_up=False)])) == []  # no bridge to put it into
    gateway = replace(VPC, nat_gateways=(net.NatGateway("nat-1", "eni-1"),))
    assert list(damaged(gateway, [BRIDGE, replace(TAP, is_up=False)])) == []
    other = replace(TAP, name=net.tap_name("eni-2"), is_up=False)
    assert list(damaged(VPC, [BRIDGE, other])) == []
