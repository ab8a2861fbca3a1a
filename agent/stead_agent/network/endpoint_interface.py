"""Convert the interfaces of interface endpoints into the kernel objects of their namespaces: pure.

Each is like a guest without a machine: a namespace with one link, plugged into its subnet under the interface's
tap name, so that security groups apply to it. Which process listens there does not concern the network.
"""

from stead_agent.network.interface import VpcNetwork, tap_name
from stead_agent.network.plug import base_settings, link_objects
from stead_agent.network.plugged import Plug


def draw(vpc: VpcNetwork) -> dict[str, Plug]:
    """Return the plugs of a VPC's endpoint interfaces on this host by id; one without subnet or IPv4 is skipped."""
    subnets = {subnet.id: subnet for subnet in vpc.subnets if subnet.cidr}
    return {
        interface.id: Plug(
            tap_name(interface.id),
            [*base_settings(forwards=False), *link_objects(vpc, interface.id, interface, subnets[interface.subnet_id])],
        )
        for interface in vpc.interfaces
        if interface.id in vpc.endpoint_interfaces and interface.subnet_id in subnets
    }
