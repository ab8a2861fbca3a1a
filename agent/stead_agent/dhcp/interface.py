"""The interface of DHCP and DNS for guests to the rest of the agent.

Every method blocks for milliseconds, may be called from any thread (for one VPC, by one thread at a time) and may be
repeated: applying the current state again changes nothing. The servers outlive the agent. Errors are `DhcpError`s.
"""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

# The resolver's address beside base+2 (https://docs.aws.amazon.com/vpc/latest/userguide/AmazonDNS-concepts.html).
# The network subsystem makes both local addresses of the VPC's namespace.
RESOLVER_ADDRESS: Final = "169.254.169.253"
RESOLVER_IPV6_ADDRESS: Final = "fd00:ec2::253"


class DhcpError(Exception):
    """A server cannot be run as requested; the message is for the operator."""


class DhcpRefusedError(DhcpError):
    """A name, address or link has an invalid form: it could have changed the server's configuration."""


@dataclass(frozen=True, slots=True)
class DhcpSubnet:
    """A subnet with guests on this host, and the link in the VPC's namespace that leads to them."""

    subnet_id: str
    cidr_block: str  # "" = IPv6 only
    link: str  # holds the gateway address; may appear after `apply`
    gateway: str = ""  # of IPv4; empty: the first address of the block
    ipv6_cidr_block: str = ""  # a /64: routers are advertised, and addresses given by DHCPv6


@dataclass(frozen=True, slots=True)
class DhcpHost:
    """A network interface, the one IPv4 address that it gets by DHCP, and its IPv6 addresses."""

    interface_id: str
    subnet_id: str
    mac_address: str
    address: str  # primary private address; "" = it has IPv6 addresses only
    name: str = ""  # private DNS name such as ip-172-31-0-5.ec2.internal, which resolves forward and reverse
    host_name: str = ""  # by DHCP: one label such as ip-172-31-0-5; it resolves only where `name` or `names` say so
    ipv6_addresses: tuple[str, ...] = ()  # given by DHCPv6


@dataclass(frozen=True, slots=True)
class DnsName:
    """A further name of an address, such as an interface's on another host; reverse queries return only one name."""

    name: str
    address: str  # IPv4 or IPv6
    main: bool = True  # False: reverse queries for the address return another name, if it has one


@dataclass(frozen=True, slots=True)
class DnsDomain:
    """A domain of which every name resolves to an address, or to several if it is given several times."""

    name: str
    address: str  # IPv4


@dataclass(frozen=True, slots=True)
class VpcDhcp:
    """The complete desired state of one VPC's server on this host."""

    vpc_id: str
    namespace: Path
    subnets: tuple[DhcpSubnet, ...]
    hosts: tuple[DhcpHost, ...]
    domain: str = ""  # sent to guests
    dns_servers: tuple[str, ...] = (RESOLVER_ADDRESS,)  # sent to guests; empty: none is
    resolver_addresses: tuple[str, ...] = (RESOLVER_ADDRESS,)  # where it answers DNS itself; empty: nowhere
    names: Collection[DnsName] = ()
    # Resolvers for all other names, reachable from the namespace: loopback ones are skipped; empty: those are refused.
    upstreams: tuple[str, ...] = ()
    mtu: int = 0  # sent to guests; 0: not sent
    lease_seconds: int = 3600
    ipv6_dns_servers: tuple[str, ...] = ()  # sent to guests by DHCPv6 and router advertisements
    ipv6_resolver_addresses: tuple[str, ...] = ()  # where it answers DNS itself, in addition to `resolver_addresses`
    ntp_servers: tuple[str, ...] = ()  # sent to guests (RFC 2132 option 42; RFC 5908 for IPv6 ones)
    netbios_name_servers: tuple[str, ...] = ()
    netbios_node_type: int = 0  # 1, 2, 4 or 8; 0: not sent
    private_blocks: tuple[str, ...] = ()  # the VPC's own: reverse queries for them are never forwarded
    domains: tuple[DnsDomain, ...] = ()  # of services that an endpoint serves
    gives_names: bool = True  # False: no name of `hosts` and `names` resolves; their domains are still ours


class Dhcp(Protocol):
    """The DHCP and DNS servers of this host's VPCs."""

    def apply(self, wanted: VpcDhcp) -> None:
        """Make the VPC's server run with exactly this state; a changed host or name needs one file, no restart.

        When it returns, no lease binds an address of `hosts` to another MAC address.
        """

    def remove(self, vpc_id: str) -> None:
        """Stop the VPC's server and remove everything of it; call it before the namespace is deleted."""

    def present(self) -> frozenset[str]:
        """List the VPCs that have a server, or remains of one."""

    def audit(self) -> tuple[str, ...]:
        """Restart the servers that have stopped by themselves, and return which."""
