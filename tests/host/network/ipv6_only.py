"""A subnet of IPv6 only in a world, and guests there that have nothing but their link, as when they boot."""

from dataclasses import replace
from ipaddress import IPv6Address
from pathlib import Path

from pyroute2 import IPRoute

from stead_agent.firewall import interface as fw
from stead_agent.network import interface as net
from tests.host.network.world import Guest, World

CIDR = "fd00:5:0:6::/64"
BESIDE = "fd00:5:0:1::/64"  # of the VPC's other subnet


def add_subnet(world: World, vpc_id: str) -> net.Subnet:
    """Give a VPC of one subnet an IPv6 block, of which that has a part, and add a subnet of IPv6 only."""
    network, firewall = world.vpcs[vpc_id]
    (dual,) = network.subnets
    only = net.Subnet("subnet-00000000000000006", "", CIDR)
    bound = fw.Subnet(net.subnet_link_name(only.id), internet=False, ipv6_cidr=only.ipv6_cidr, id=only.id)
    world.apply(
        replace(network, ipv6_cidrs=("fd00:5::/56",), subnets=(replace(dual, ipv6_cidr=BESIDE), only)),
        replace(
            firewall,
            subnets=(*firewall.subnets, bound),
            resolvers=firewall.resolvers | {net.RESOLVER_IPV6_ADDRESS},
        ),
    )
    return only


def add_guest(world: World, vpc_id: str, address: str, *group_ids: str, plugged: bool = True) -> Guest:
    """Plug in a guest in the subnet of IPv6 only; its link is on, and it has only the address that it makes itself."""
    number = int(IPv6Address(address)) & 0xFF
    network, firewall = world.vpcs[vpc_id]
    (only,) = [each for each in network.subnets if not each.cidr]
    guest = Guest(
        world, vpc_id, f"eni-{0x600 + number:017x}", f"06:00:00:00:66:{number:02x}", address, f"vpc-guest-six{number}"
    )
    local = net.LocalInterface(guest.interface_id, only.id, guest.mac, (), ipv6_addresses=(address,))
    link = net.subnet_link_name(only.id)
    bound = fw.Interface(guest.interface_id, guest.tap, link, guest.mac, (), group_ids, ipv6_addresses=(address,))
    world.apply(
        replace(network, interfaces=(*network.interfaces, local)),
        replace(firewall, interfaces=(*firewall.interfaces, bound)),
    )
    world.machine.create(guest.namespace)
    world.guests.append(guest)
    if plugged:
        world.wire(guest, only)
        world.machine.inside(guest.namespace, _switch_on)
        world.wait_for_carriers(guest.namespace)
    return guest


def _switch_on() -> None:
    """Boot as a stock kernel does: a link-local address of the MAC, and routers as they are advertised."""
    Path("/proc/sys/net/ipv6/conf/eth0/accept_ra").write_text("1", encoding="ascii")
    with IPRoute() as ip:
        (eth0,) = ip.link_lookup(ifname="eth0")
        ip.link("set", index=1, state="up")
        ip.link("set", index=eth0, state="up")
