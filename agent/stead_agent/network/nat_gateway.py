"""Convert a NAT gateway into the kernel objects and the nft table of its namespace: pure.

It is like a guest without a machine: a namespace with one link, plugged into its subnet under the interface's tap name,
that routes for others and masquerades them as its own private address. A public gateway's public address belongs to
its interface, like any other. https://docs.aws.amazon.com/vpc/latest/userguide/nat-gateway-basics.html
"""

from ipaddress import IPv4Address, IPv4Network
from typing import Final

from stead_agent.network.interface import LocalInterface, VpcNetwork, tap_name
from stead_agent.network.kernel_objects import Place, Setting
from stead_agent.network.plug import base_settings, link_objects
from stead_agent.network.plugged import Plug

IDLE_SECONDS: Final = 350
COUNTERS: Final = (
    "from_source", "to_destination", "from_destination", "to_source", "attempts", "established", "dropped",
)  # fmt: skip
"""The counters of its nft table, which count bytes and packets; begun at zero when the rules change."""
_TIMEOUTS: Final = ("tcp_timeout_established", "udp_timeout", "udp_timeout_stream", "icmp_timeout", "generic_timeout")


def draw(vpc: VpcNetwork) -> dict[str, Plug]:
    """Return the plug of each NAT gateway of a VPC on this host by id; skip those without interface, subnet or IPv4."""
    interfaces = {interface.id: interface for interface in vpc.interfaces}
    subnets = {subnet.id: subnet for subnet in vpc.subnets if subnet.cidr}
    found = {}
    for gateway in vpc.nat_gateways:
        interface = interfaces.get(gateway.interface_id)
        if interface is None or interface.subnet_id not in subnets:
            continue
        objects = [
            *base_settings(forwards=True),
            *(Setting(Place.VPC, f"net/netfilter/nf_conntrack_{name}", str(IDLE_SECONDS)) for name in _TIMEOUTS),
            *link_objects(vpc, gateway.id, interface, subnets[interface.subnet_id]),
        ]
        found[gateway.id] = Plug(tap_name(interface.id), objects, ruleset(vpc, interface))
    return found


def ruleset(vpc: VpcNetwork, interface: LocalInterface) -> str:
    """Return its nft table, which replaces the previous one in one transaction: tracked flows continue."""
    own = IPv4Address(interface.addresses[0])
    inside = ", ".join(str(IPv4Network(block)) for block in vpc.cidrs)
    counters = "\n          ".join(f"counter {name} {{}}" for name in COUNTERS)
    return f"""
        add table ip stead
        delete table ip stead
        table ip stead {{
          comment "A NAT gateway."
          {counters}
          chain forward {{
            type filter hook forward priority filter; policy drop;
            ct direction original ip saddr {{ {inside} }} counter name from_source
            ct direction reply counter name from_destination
            ct direction reply ct state established ct mark != 2 ct mark set 2 counter name established
            ct state established,related accept comment "flows begun from inside"
            ip saddr != {{ {inside} }} drop comment "nobody else may begin"
            ct state new tcp flags & (fin | syn | rst | ack) != syn reject with tcp reset comment "forgotten when idle"
            ct state new ct mark 0 ct mark set 1 counter name attempts comment "once a flow, until it is answered"
            ct state new accept comment "from inside"
            counter name dropped comment "of no flow"
          }}
          chain leaving {{
            type filter hook postrouting priority filter; policy accept;
            iif != lo ct direction original counter name to_destination
            iif != lo ct direction reply counter name to_source
          }}
          chain input {{
            type filter hook input priority filter; policy drop;
            ct state established,related accept comment "nobody begins with the gateway itself"
          }}
          chain hidden {{
            type nat hook postrouting priority srcnat; policy accept;
            ip saddr {{ {inside} }} snat to {own} comment "whoever it is, behind the gateway's own address"
          }}
        }}
    """
