"""A cloud becomes the states that each host is sent."""

from collections.abc import Iterator

from stead_agent.firewall import interface as fw
from stead_agent.network import interface as net
from tests.host.firewall.ec2 import Cloud, Eni, Vpc
from tests.host.firewall.hosts import UNDERLAY
from tests.host.firewall.random_cloud import PEERING


def desired_network(cloud: Cloud, vpc: Vpc, host: str) -> net.VpcNetwork:
    """Give what the network of a host is sent of a VPC."""
    own = list(_enis(cloud, vpc))
    here = [eni for eni in own if eni.host == host]
    subnets = [subnet for subnet in cloud.subnets.values() if subnet.vpc == vpc.id]
    peer = cloud.vpcs.get(vpc.peer)
    return net.VpcNetwork(
        vpc.id,
        int(vpc.id.removeprefix("vpc-"), 16),
        (vpc.cidr,),
        tuple(net.Subnet(subnet.id, subnet.cidr, subnet.ipv6_cidr, subnet.table) for subnet in subnets),
        tuple(
            net.LocalInterface(
                eni.id,
                eni.subnet,
                eni.mac,
                (eni.ipv4,),
                (net.PublicAddress(eni.public, eni.ipv4),) if eni.public else (),
                (eni.ipv6,),
                is_router=not eni.check,
            )
            for eni in here
        ),
        ipv6_cidrs=(vpc.ipv6_cidr,),
        route_tables=tuple(cloud.tables[subnet.table] for subnet in subnets if subnet.table),
        remotes=tuple(
            net.RemoteInterface(eni.id, eni.mac, (eni.ipv4, eni.ipv6), UNDERLAY[eni.host], not eni.check)
            for eni in own
            if eni.host != host
        ),
        peers=(net.Peer(PEERING, peer.id, (peer.cidr, peer.ipv6_cidr)),) if peer else (),
    )


def desired_firewall(cloud: Cloud, vpc: Vpc, host: str) -> fw.VpcFirewall:
    """Give what the firewall of a host is sent of a VPC."""
    peer = cloud.vpcs.get(vpc.peer)
    return fw.VpcFirewall(
        vpc.id,
        tuple(fw.Group(group.id, group.rules, cloud.members(group.id)) for group in cloud.groups.values()),
        tuple(
            fw.Subnet(
                net.subnet_link_name(subnet.id),
                _leads_outside(cloud, subnet.table, 4),
                subnet.cidr,
                subnet.ipv6_cidr,
                _leads_outside(cloud, subnet.table, 6),
                subnet.acl,
                subnet.id,
            )
            for subnet in cloud.subnets.values()
            if subnet.vpc == vpc.id
        ),
        tuple(
            fw.Interface(
                eni.id,
                net.tap_name(eni.id),
                net.subnet_link_name(eni.subnet),
                eni.mac,
                (eni.ipv4,),
                eni.groups,
                (fw.PublicAddress(eni.public, eni.ipv4),) if eni.public else (),
                eni.check,
                (eni.ipv6,),
                router_mark=0 if eni.check else net.router_mark(eni.id),
            )
            for eni in _enis(cloud, vpc)
            if eni.host == host
        ),
        acls=tuple(cloud.acls.values()),
        peers=(fw.PeerLink(net.peer_link_name(PEERING), (peer.cidr, peer.ipv6_cidr)),) if peer else (),
    )


def _enis(cloud: Cloud, vpc: Vpc) -> Iterator[Eni]:
    return (eni for eni in cloud.enis.values() if cloud.subnets[eni.subnet].vpc == vpc.id)


def _leads_outside(cloud: Cloud, table: str, version: int) -> bool:
    return table in cloud.tables and any(
        route.to is net.RouteTo.INTERNET and (":" in route.destination) == (version == 6)
        for route in cloud.tables[table].routes
    )
