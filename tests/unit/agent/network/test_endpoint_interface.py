"""Interfaces of interface endpoints become a namespace each, plugged into the subnet."""

from dataclasses import replace

from stead_agent.network import endpoint_interface
from stead_agent.network.interface import GATEWAY_MAC, LocalInterface, NatGateway, Subnet, VpcNetwork
from stead_agent.network.kernel_objects import Address, Neighbour, Place, Route, Setting, Veth
from stead_agent.network.nat_gateway import draw as draw_gateways

VPC = VpcNetwork(
    "vpc-0123456789abcdef0",
    1,
    ("10.0.0.0/16",),
    (Subnet("subnet-0123456789abcdef0", "10.0.1.0/24"),),
    (
        LocalInterface("eni-0123456789abcdef0", "subnet-0123456789abcdef0", "06:00:00:00:00:01", ("10.0.1.77",)),
        LocalInterface("eni-0123456789abcdef1", "subnet-0123456789abcdef0", "06:00:00:00:00:02", ("10.0.1.78",)),
    ),
    endpoint_interfaces=frozenset({"eni-0123456789abcdef0"}),
)


def test_one_is_a_guest_without_a_machine() -> None:
    (drawn,) = endpoint_interface.draw(VPC).items()
    name, plug = drawn
    assert (name, plug.tap, plug.rules) == ("eni-0123456789abcdef0", "stt56789abcdef0", "")
    (pair,) = [obj for obj in plug.objects if isinstance(obj, Veth)]
    assert (pair.name, pair.alias) == (plug.tap, "stead vpc-0123456789abcdef0 eni-0123456789abcdef0")
    assert (pair.master, pair.is_isolated) == ("stb56789abcdef0", True)
    assert Address(Place.VPC, "eth0", "10.0.1.77/24") in plug.objects
    assert Neighbour(Place.VPC, "eth0", "10.0.1.1", GATEWAY_MAC) in plug.objects
    assert Route(Place.VPC, "0.0.0.0/0", "eth0", "10.0.1.1") in plug.objects
    assert Setting(Place.VPC, "net/ipv4/ip_forward", "0") in plug.objects


def test_what_it_stands_on_is_there_first() -> None:
    assert endpoint_interface.draw(replace(VPC, subnets=())) == {}
    without_ipv4 = replace(VPC, subnets=(Subnet("subnet-0123456789abcdef0", "", "fd00::/64"),))
    assert endpoint_interface.draw(without_ipv4) == {}
    gateway = NatGateway("nat-0123456789abcdef0", "eni-0123456789abcdef1")
    assert set(draw_gateways(replace(VPC, nat_gateways=(gateway,)))) == {gateway.id}
    assert draw_gateways(replace(without_ipv4, nat_gateways=(gateway,))) == {}
