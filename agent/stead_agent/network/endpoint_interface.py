"""Convert the interfaces of interface endpoints into the kernel objects of their namespaces: pure.

Each is a guest without a machine: a namespace with one link, plugged into its subnet by the name of the interface's
tap, so that security groups decide who reaches it. Who listens there is none of the network's business.
"""

from stead_agent.network.interface import VpcNetwork, tap_name
from stead_agent.network.plug import base_settings, link_things
from stead_agent.network.plugged import Plug


def draw(vpc: VpcNetwork) -> dict[str, Plug]:
    """Draw each such interface of a VPC on this host, by its id; one without its subnet, or IPv4 in it, is not made."""
    subnets = {subnet.id: subnet for subnet in vpc.subnets if subnet.cidr}
    return {
        interface.id: Plug(
            tap_name(interface.id),
            [*base_settings(forwards=False), *link_things(vpc, interface.id, interface, subnets[interface.subnet_id])],
        )
        for interface in vpc.interfaces
        if interface.id in vpc.endpoint_interfaces and interface.subnet_id in subnets
    }
