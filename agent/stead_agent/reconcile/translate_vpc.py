"""Translates the controller's resources for the network, the firewall and DHCP: pure."""

from collections.abc import Callable, Collection, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, cast

from stead_agent.dhcp import interface as dhcp
from stead_agent.endpoints import interface as endpoints
from stead_agent.firewall import interface as firewall
from stead_agent.flow_logs import interface as flow_logs
from stead_agent.network import interface as network
from stead_agent.reconcile.plan import VpcContents
from stead_agent.wanted import Wanted
from stead_proto.v1 import desired_pb2
from stead_proto.v1.desired_pb2 import Resource

_PROVIDED_DNS: Final = "AmazonProvidedDNS"  # in a DHCP options set: the VPC's own resolver


class Memory:
    """Caches what each resource was translated to, so that a change of one is cheap in a VPC of thousands."""

    def __init__(self) -> None:
        self._results: dict[str, dict[str, tuple[Resource, Any]]] = {}

    def of[T](self, resource: Resource, translate: Callable[[Resource], T]) -> T:
        """Translate the resource, unless the same object was translated in this way before."""
        results = self._results.setdefault(resource.id, {})
        known = results.get(translate.__name__)
        if known is not None and known[0] is resource:
            return cast("T", known[1])
        result = translate(resource)
        results[translate.__name__] = (resource, result)
        return result

    def forget(self, resource_id: str) -> None:
        """Forget what a resource was translated to."""
        self._results.pop(resource_id, None)


@dataclass(frozen=True, slots=True)
class VpcSettings:
    """This host's settings for every VPC."""

    mtu: int = 1500  # of links
    overlay_mtu: int = 0  # MTU between hosts; 0: there are no others, or it is not known
    upstreams: tuple[str, ...] = ()  # resolvers for external names


@dataclass(frozen=True, slots=True)
class Beyond:
    """What a VPC on this host needs besides its parts: immutable values from `mappings.py`."""

    remotes: Collection[network.RemoteInterface] = ()
    routers: frozenset[str] = frozenset()  # ids of those of them that may forward
    members: Mapping[str, AbstractSet[str]] = field(
        default_factory=dict
    )  # by group, for the groups that rules refer to
    names: Collection[dhcp.DnsName] = ()
    peers: frozenset[str] = frozenset()  # VPCs with an active peering that are on this host


def host_network(resource: Resource | None, uplink: str, underlay_address: str = "") -> network.HostNetwork:
    """Return the host's network; without a resource there are no public addresses."""
    if resource is None:
        return network.HostNetwork(public_pools=(), uplink=uplink)
    body = resource.host_network
    return network.HostNetwork(
        public_pools=tuple(body.public_pools),
        uplink=uplink,
        host_address=body.host_address,
        ipv6_pools=tuple(body.ipv6_pools),
        underlay_address=underlay_address,
    )


@dataclass(frozen=True, slots=True)
class Reachable:
    """What guests may reach of the host itself: TCP ports of its pool address and, unless empty, of another."""

    ports: frozenset[int] = frozenset()
    address: str = ""


NOTHING: Final = Reachable()


def host_firewall(
    resource: Resource | None,
    wanted: network.HostNetwork,
    found: network.HostPaths,
    reachable: Reachable = NOTHING,
    unclaimed_peers: frozenset[str] = frozenset(),
) -> firewall.HostFirewall:
    """Return the host's firewall; hosts that only what is unclaimed needs are let in as those that are told."""
    told = frozenset(resource.host_network.underlay_addresses) if resource is not None else frozenset()
    others = told | unclaimed_peers
    return firewall.HostFirewall(
        public_pools=wanted.public_pools,
        uplink=found.uplink,
        host_address=found.host_address,
        host_ports=reachable.ports,
        guest_address=reachable.address,
        masqueraded_pools=found.masqueraded_pools,
        is_router=found.is_router,
        ipv6_pools=wanted.ipv6_pools,
        underlay_address=wanted.underlay_address,
        underlay_peers=others - {wanted.underlay_address},
    )


def unclaimed_peers(wanted: Wanted) -> frozenset[str]:
    """Return the underlay addresses of other hosts that unclaimed interfaces or volumes are on.

    A controller that was begun anew tells of them when they have joined it, one by one; until then guests here and
    there go on together.
    """
    unclaimed = (resource for key in wanted.unclaimed if (resource := wanted.resources.get(key)) is not None)
    found = {each.mapping.host_address or each.volume.remote.address for each in unclaimed}
    return frozenset(found - {""})


def _local_subnets(contents: VpcContents) -> tuple[Resource, ...]:
    """Return the subnets that have interfaces on this host: other subnets of the VPC are not created here."""
    used = {each.interface.subnet_id for each in contents.interfaces}
    return tuple(each for each in contents.subnets if each.id in used)


def vpc_network(
    vpc: Resource, contents: VpcContents, beyond: Beyond, settings: VpcSettings, memory: Memory
) -> network.VpcNetwork:
    """The links and routes of a VPC."""
    subnets = _local_subnets(contents)
    interfaces = tuple(memory.of(each, _network_interface) for each in contents.interfaces)
    targets = {each.id for each in interfaces if each.is_router}
    targets |= beyond.routers
    used = {each.subnet.route_table_id for each in subnets}
    return network.VpcNetwork(
        vpc_id=vpc.id,
        vni=vpc.vpc.vni,
        cidrs=tuple(vpc.vpc.cidr_blocks),
        subnets=tuple(memory.of(each, _network_subnet) for each in subnets),
        interfaces=interfaces,
        mtu=settings.mtu,
        ipv6_cidrs=tuple(vpc.vpc.ipv6_cidr_blocks),
        route_tables=tuple(_route_table(it, targets, beyond.peers) for it in contents.route_tables if it.id in used),
        remotes=beyond.remotes,
        peers=tuple(_peer(each) for each in contents.peerings if each.peering.peer_vpc_id in beyond.peers),
        nat_gateways=tuple(
            network.NatGateway(each.id, each.nat_gateway.interface_id) for each in contents.nat_gateways
        ),
        endpoints=tuple(
            network.GatewayEndpoint(each.id, tuple(each.vpc_endpoint.addresses)) for each in used_endpoints(contents)
        ),
        endpoint_interfaces=frozenset(each.id for each in contents.endpoint_interfaces),
    )


def used_endpoints(contents: VpcContents) -> tuple[Resource, ...]:
    """Return the gateway endpoints that routes of subnets on this host lead to."""
    tables = {each.subnet.route_table_id for each in _local_subnets(contents)}
    used = {
        route.vpc_endpoint_id
        for table in contents.route_tables
        if table.id in tables
        for route in table.route_table.routes
    }
    return tuple(each for each in contents.endpoints if each.id in used)


def vpc_endpoints(contents: VpcContents, namespace_of: Callable[[str], Path]) -> tuple[endpoints.Endpoint, ...]:
    """Return what is relayed to a controller; `namespace_of` maps an endpoint's or interface's id to a file."""
    known = {each.id: each.vpc_endpoint for each in contents.endpoints}
    places = [(each.id, each.id) for each in used_endpoints(contents)]
    places += [(each.endpoint_interface.endpoint_id, each.id) for each in contents.endpoint_interfaces]
    return tuple(
        endpoints.Endpoint(
            endpoint_id, namespace_of(place), tuple(known[endpoint_id].ports), known[endpoint_id].controller_port
        )
        for endpoint_id, place in places
        if endpoint_id in known
    )


def _domains(vpc: Resource, contents: VpcContents) -> Iterator[dhcp.DnsDomain]:
    """Yield the DNS names of endpoints.

    Services' own names lead to interface endpoints only if the VPC has DNS host names enabled, and only otherwise to a
    gateway endpoint of the same service.
    """
    names = [
        name
        for each in contents.endpoints
        for name in each.vpc_endpoint.interface_names
        if vpc.vpc.dns_hostnames or not name.is_private
    ]
    for name in names:
        yield from (dhcp.DnsDomain(name.name, address) for address in name.addresses)
    taken = {name.name for name in names}
    for each in used_endpoints(contents):
        if each.vpc_endpoint.addresses:
            address = each.vpc_endpoint.addresses[0]
            yield from (dhcp.DnsDomain(name, address) for name in each.vpc_endpoint.names if name not in taken)


def _network_subnet(resource: Resource) -> network.Subnet:
    body = resource.subnet
    return network.Subnet(resource.id, body.cidr_block, body.ipv6_cidr_block, body.route_table_id)


def _route_table(resource: Resource, routers: AbstractSet[str], peers: AbstractSet[str]) -> network.RouteTable:
    return network.RouteTable(resource.id, tuple(_route(each, routers, peers) for each in resource.route_table.routes))


def _route(route: desired_pb2.Route, routers: AbstractSet[str], peers: AbstractSet[str]) -> network.TableRoute:
    """Translate a route; one whose target is missing or of an unknown kind becomes a blackhole."""
    match route.WhichOneof("target"):
        case "internet_gateway":
            return network.TableRoute(route.destination, network.RouteTo.INTERNET)
        case "egress_only_gateway":
            return network.TableRoute(route.destination, network.RouteTo.EGRESS_ONLY)
        case "interface_id" if route.interface_id in routers:
            return network.TableRoute(route.destination, network.RouteTo.INTERFACE, route.interface_id)
        case "peer_vpc_id" if route.peer_vpc_id in peers:
            return network.TableRoute(route.destination, network.RouteTo.PEER, route.peer_vpc_id)
        case "vpc_endpoint_id":
            return network.TableRoute(route.destination, network.RouteTo.ENDPOINT, route.vpc_endpoint_id)
        case _:
            return network.TableRoute(route.destination, network.RouteTo.NOWHERE)


def _peer(resource: Resource) -> network.Peer:
    body = resource.peering
    return network.Peer(body.peering_id, body.peer_vpc_id, tuple(body.peer_cidr_blocks))


def ipv4_addresses(body: desired_pb2.Interface) -> tuple[str, ...]:
    """List an interface's IPv4 addresses, the primary one first; there are none in a subnet of IPv6 only."""
    return (body.private_address, *body.secondary_addresses) if body.private_address else ()


def _network_interface(resource: Resource) -> network.LocalInterface:
    body = resource.interface
    return network.LocalInterface(
        id=resource.id,
        subnet_id=body.subnet_id,
        mac=body.mac_address,
        addresses=ipv4_addresses(body),
        public_addresses=tuple(
            network.PublicAddress(each.public_address, each.private_address) for each in body.public_addresses
        ),
        ipv6_addresses=tuple(body.ipv6_addresses),
        is_router=not body.source_dest_check,
        bandwidth=_bandwidth(body),
    )


def _bandwidth(body: desired_pb2.Interface) -> network.Bandwidth | None:
    if not body.HasField("bandwidth") or not body.instance_id:
        return None
    limits = body.bandwidth
    return network.Bandwidth(body.instance_id, limits.vpc_id, limits.baseline_mbps, limits.burst_mbps)


def vpc_firewall(vpc: Resource, contents: VpcContents, beyond: Beyond, memory: Memory) -> firewall.VpcFirewall:
    """The security groups, network ACLs and guests' bindings of a VPC."""
    tables = {each.id: each for each in contents.route_tables}
    used = {group_id for each in contents.interfaces for group_id in each.interface.security_group_ids}
    groups = [
        firewall.Group(each.id, memory.of(each, _firewall_rules), beyond.members.get(each.id, frozenset()))
        for each in contents.groups
        if each.id in used or each.id in beyond.members
    ]
    known = {each.id for each in groups}
    groups += [firewall.Group(each, (), members) for each, members in beyond.members.items() if each not in known]
    subnets = _local_subnets(contents)
    acls = {each.subnet.network_acl_id for each in subnets}
    return firewall.VpcFirewall(
        vpc_id=vpc.id,
        groups=tuple(groups),
        subnets=tuple(_firewall_subnet(each, tables.get(each.subnet.route_table_id)) for each in subnets),
        interfaces=tuple(memory.of(each, _firewall_interface) for each in contents.interfaces),
        resolvers=_resolvers(vpc, subnets) | _ipv6_resolvers(vpc, subnets),
        acls=tuple(memory.of(each, _acl) for each in contents.acls if each.id in acls),
        flow_logs=tuple(_flow_log(each, contents) for each in contents.flow_logs),
        peers=tuple(
            firewall.PeerLink(network.peer_link_name(each.peering.peering_id), tuple(each.peering.peer_cidr_blocks))
            for each in contents.peerings
            if each.peering.peer_vpc_id in beyond.peers
        ),
    )


def _resolvers(vpc: Resource, subnets: tuple[Resource, ...]) -> frozenset[str]:
    if not vpc.vpc.dns_support:
        return frozenset()
    blocks = tuple(each.subnet.cidr_block for each in subnets)
    return network.resolver_addresses(tuple(vpc.vpc.cidr_blocks), blocks)


def _ipv6_resolvers(vpc: Resource, subnets: tuple[Resource, ...]) -> frozenset[str]:
    has_ipv6 = any(each.subnet.ipv6_cidr_block for each in subnets)
    return frozenset({network.RESOLVER_IPV6_ADDRESS} if vpc.vpc.dns_support and has_ipv6 else ())


def _firewall_rules(resource: Resource) -> tuple[firewall.GroupRule, ...]:
    return tuple(
        firewall.GroupRule(
            id=rule.id,
            egress=rule.egress,
            protocol=rule.protocol,
            from_port=rule.from_port,
            to_port=rule.to_port,
            peer=rule.cidr_ipv4 or rule.cidr_ipv6 or rule.group_id or rule.prefix_list.id,
            blocks=tuple(rule.prefix_list.cidr_blocks),
        )
        for rule in resource.security_group.rules
    )


def _firewall_subnet(resource: Resource, table: Resource | None) -> firewall.Subnet:
    body = resource.subnet
    open_v4 = open_v6 = False
    for route in table.route_table.routes if table is not None else ():
        if route.WhichOneof("target") == "internet_gateway":
            is_v6 = ":" in route.destination
            open_v4, open_v6 = open_v4 or not is_v6, open_v6 or is_v6
    return firewall.Subnet(
        link=network.subnet_link_name(resource.id),
        internet=open_v4,
        cidr=body.cidr_block,
        ipv6_cidr=body.ipv6_cidr_block,
        ipv6_internet=open_v6,
        acl_id=body.network_acl_id,
        id=resource.id,
    )


def _acl(resource: Resource) -> firewall.Acl:
    return firewall.Acl(
        resource.id,
        tuple(
            firewall.AclEntry(
                rule_number=each.rule_number,
                egress=each.egress,
                allow=each.allow,
                protocol=each.protocol,
                cidr=each.cidr_block,
                from_port=each.from_port,
                to_port=each.to_port,
            )
            for each in resource.network_acl.entries
        ),
    )


def _flow_log(resource: Resource, contents: VpcContents) -> firewall.FlowLog:
    body = resource.flow_log
    return firewall.FlowLog(resource.id, _logged(resource, contents), body.accepted, body.rejected)


def _logged(flow_log: Resource, contents: VpcContents) -> frozenset[str]:
    """Return the interfaces on this host that a flow log covers."""
    about = flow_log.flow_log.resource_id
    return frozenset(
        each.id for each in contents.interfaces if about in {each.id, each.interface.subnet_id, each.interface.vpc_id}
    )


def vpc_owners(contents: VpcContents) -> tuple[dict[str, str], frozenset[str]]:
    """Return which instance or NAT gateway has each address of a VPC here, and with which VPCs it has peerings."""
    gateways = {each.nat_gateway.interface_id: each.id for each in contents.nat_gateways}
    owners = {
        address: owner
        for each in contents.interfaces
        if (owner := gateways.get(each.id) or each.interface.instance_id)
        for address in (
            each.interface.private_address,
            *each.interface.secondary_addresses,
            *each.interface.ipv6_addresses,
        )
        if address
    }
    return owners, frozenset(each.peering.peer_vpc_id for each in contents.peerings)


def vpc_flow_logs(vpc: Resource, contents: VpcContents) -> flow_logs.VpcFlowLogs:
    """Return the flow logs of a VPC, with the interfaces on this host that they cover."""
    logs = tuple(
        flow_logs.FlowLog(
            id=each.id,
            log_group=each.flow_log.log_group,
            interface_ids=_logged(each, contents),
            accepted=each.flow_log.accepted,
            rejected=each.flow_log.rejected,
            account_id=each.flow_log.account_id,
            aggregation_seconds=each.flow_log.aggregation_seconds or 600,
            format=each.flow_log.format,
        )
        for each in contents.flow_logs
    )
    ids = frozenset[str]().union(*(log.interface_ids for log in logs))
    return flow_logs.VpcFlowLogs(
        vpc.id,
        logs,
        tuple(_logged_interface(each) for each in contents.interfaces if each.id in ids),
    )


def _logged_interface(resource: Resource) -> flow_logs.Interface:
    body = resource.interface
    addresses = (*ipv4_addresses(body), *body.ipv6_addresses)
    return flow_logs.Interface(resource.id, body.mac_address, addresses, body.subnet_id, body.instance_id)


def _firewall_interface(resource: Resource) -> firewall.Interface:
    body = resource.interface
    return firewall.Interface(
        id=resource.id,
        tap=network.tap_name(resource.id),
        subnet_link=network.subnet_link_name(body.subnet_id),
        mac=body.mac_address,
        addresses=ipv4_addresses(body),
        group_ids=tuple(body.security_group_ids),
        public_addresses=tuple(
            firewall.PublicAddress(each.public_address, each.private_address) for each in body.public_addresses
        ),
        source_dest_check=body.source_dest_check,
        ipv6_addresses=tuple(body.ipv6_addresses),
        unfiltered=body.unfiltered,
        router_mark=0 if body.source_dest_check else network.router_mark(resource.id),
        idle_timeouts=firewall.IdleTimeouts(body.tcp_established_timeout, body.udp_timeout, body.udp_stream_timeout),
    )


def vpc_dhcp(
    vpc: Resource, contents: VpcContents, beyond: Beyond, settings: VpcSettings, memory: Memory, *, namespace: Path
) -> dhcp.VpcDhcp:
    """The DHCP and DNS server of a VPC."""
    body = vpc.vpc
    subnets = _local_subnets(contents)
    servers = _dns_servers(vpc)
    has_ipv6 = any(each.subnet.ipv6_cidr_block for each in subnets)
    return dhcp.VpcDhcp(
        vpc_id=vpc.id,
        namespace=namespace,
        subnets=tuple(memory.of(each, _dhcp_subnet) for each in subnets),
        hosts=tuple(memory.of(each, _dhcp_host) for each in contents.interfaces if not each.interface.unfiltered),
        domain=body.domain_name,
        dns_servers=tuple(each for each in servers if ":" not in each),
        resolver_addresses=tuple(sorted(_resolvers(vpc, subnets))),
        names=beyond.names,
        upstreams=settings.upstreams,
        mtu=min(settings.mtu, settings.overlay_mtu or settings.mtu),
        ipv6_dns_servers=tuple(each for each in servers if ":" in each) if has_ipv6 else (),
        ipv6_resolver_addresses=tuple(_ipv6_resolvers(vpc, subnets)),
        ntp_servers=tuple(body.dhcp_options.ntp_servers),
        netbios_name_servers=tuple(body.dhcp_options.netbios_name_servers),
        netbios_node_type=body.dhcp_options.netbios_node_type,
        private_blocks=(*body.cidr_blocks, *body.ipv6_cidr_blocks),
        domains=tuple(_domains(vpc, contents)),
        gives_names=body.dns_hostnames,
    )


def _dns_servers(vpc: Resource) -> tuple[str, ...]:
    """Return the DNS servers that guests get; the VPC's own while it answers."""
    body = vpc.vpc
    own: tuple[str, ...] = ()
    if body.dns_support and body.cidr_blocks:
        (first,) = network.resolver_addresses(tuple(body.cidr_blocks)[:1], ()) - {network.RESOLVER_ADDRESS}
        own = (first, network.RESOLVER_IPV6_ADDRESS)
    if not body.HasField("dhcp_options"):
        return own
    servers: list[str] = []
    for each in body.dhcp_options.domain_name_servers:
        servers += own if each == _PROVIDED_DNS else (each,)
    return tuple(dict.fromkeys(servers))


def _dhcp_subnet(resource: Resource) -> dhcp.DhcpSubnet:
    body = resource.subnet
    link = network.subnet_link_name(resource.id)
    gateway = network.gateway_address(body.cidr_block) if body.cidr_block else ""
    return dhcp.DhcpSubnet(resource.id, body.cidr_block, link, gateway, body.ipv6_cidr_block)


def _dhcp_host(resource: Resource) -> dhcp.DhcpHost:
    body = resource.interface
    return dhcp.DhcpHost(
        interface_id=resource.id,
        subnet_id=body.subnet_id,
        mac_address=body.mac_address,
        address=body.private_address,
        name=body.private_dns_name,
        host_name=(body.host_name or body.private_dns_name).partition(".")[0],
        ipv6_addresses=tuple(body.ipv6_addresses),
    )
