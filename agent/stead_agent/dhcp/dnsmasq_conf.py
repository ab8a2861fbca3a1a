"""Convert a VPC's desired DHCP and DNS into dnsmasq's files: configuration, zones, two small files per interface.

Every text that is written to a file must first match a pattern without characters that are special to dnsmasq;
any other text is refused, never escaped, since dnsmasq's files have no escaping. Options: dnsmasq(8).
"""

import re
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import AddressValueError, IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Final

from stead_agent.dhcp.interface import DhcpHost, DhcpRefusedError, DhcpSubnet, VpcDhcp

_ID: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
_MAC_ADDRESS: Final = re.compile(r"(?:[0-9a-f]{2}:){5}[0-9a-f]{2}")
_LABEL: Final = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_NAME: Final = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(?:\.{_LABEL})*")
_HOST_NAME: Final = re.compile(_LABEL)
_HOST_NAME_OPTION: Final = 12  # RFC 2132 section 3.14
_LINK: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,14}")
_USER: Final = re.compile(r"[a-z_][a-z0-9_-]{0,31}")

# Directories of the files that dnsmasq reads by itself when they appear.
DHCP_HOSTS: Final = "dhcp-hosts"
DHCP_OPTIONS: Final = "dhcp-options"
DNS_HOSTS: Final = "dns-hosts"
# The domains of our own names: a file that dnsmasq reads again on a signal, since they change with single addresses.
ZONES: Final = "zones"
# Names of other hosts' interfaces, split into so many files that a changed one is small; no id has an underscore.
_NAMES_FILES: Final = 256
_KNOWN_LINES: Final = 65536

_NAME_TTL: Final = 60  # seconds, as of EC2's private names
_MAX_LEASES: Final = 65536  # dnsmasq's own default is 1,000


@dataclass(frozen=True, slots=True)
class ServerFiles:
    """The paths of a VPC's server's files, and the user it runs as."""

    folder: Path
    user: str
    group: str

    @property
    def configuration(self) -> Path:
        """The server's configuration file; its path in the command line identifies the process."""
        return self.folder / "dnsmasq.conf"

    @property
    def leases(self) -> Path:
        """The server's lease file."""
        return self.folder / "leases"

    @property
    def pid(self) -> Path:
        """Its process id file, written by itself."""
        return self.folder / "pid"


def configuration(wanted: VpcDhcp, files: ServerFiles) -> str:
    """Return the configuration; a change of it needs a restart, so it contains nothing about single hosts."""
    lines = [f"# DHCP and DNS of {_checked(_ID, wanted.vpc_id, 'VPC id')}, written by stead-agent"]
    lines += _own_lines(files)
    lines += _dhcp_lines(wanted, files)
    lines += _dns_lines(wanted, files)
    return "\n".join(lines) + "\n"


def host_files(wanted: VpcDhcp) -> dict[str, str]:
    """Return ZONES and the files below DHCP_HOSTS, DHCP_OPTIONS and DNS_HOSTS, by their path in the server's folder.

    All names of an address are in one file, its main name first: dnsmasq resolves the address back to the name it reads
    first.

    Raises DhcpRefusedError when two hosts share an address, a MAC address or an id: no valid file exists then.
    """
    networks = {subnet.subnet_id: _network(subnet) for subnet in wanted.subnets if subnet.cidr_block}
    for what in ("interface_id", "address", "mac_address"):
        _refuse_doubles(what, (value for host in wanted.hosts if (value := getattr(host, what))))
    made = {ZONES: "".join(f"server=/{zone}/\n" for zone in _own_zones(wanted))}
    for host in wanted.hosts:
        interface_id = _checked(_ID, host.interface_id, "interface id")
        made[f"{DHCP_HOSTS}/{interface_id}"] = _dhcp_host(host, networks)
        if host.host_name:
            name = _checked(_HOST_NAME, host.host_name, "host name")
            made[f"{DHCP_OPTIONS}/{interface_id}"] = f"tag:{interface_id},{_HOST_NAME_OPTION},{name}\n"
    if wanted.gives_names:
        made.update((f"{DNS_HOSTS}/{file}", text) for file, text in _dns_files(wanted).items())
    return made


def _dns_files(wanted: VpcDhcp) -> dict[str, str]:
    """Return the files below DNS_HOSTS: one for each local host, and a fixed number of files for all other names."""
    lines: dict[str, list[tuple[bool, str]]] = {}
    local = {address: host.interface_id for host in wanted.hosts if (address := _main_address(host))}
    for host in wanted.hosts:
        if host.name and (address := _main_address(host)):
            lines[host.interface_id] = [(False, _dns_line(host.name, address))]
    for each in wanted.names:
        file = local.get(each.address) or f"_names-{zlib.crc32(each.address.encode()) % _NAMES_FILES:02x}"
        lines.setdefault(file, []).append((not each.main, _dns_line(each.name, each.address)))
    return {file: "".join(line for _, line in sorted(found)) for file, found in lines.items()}


def _main_address(host: DhcpHost) -> str:
    """Return the address that a host's name resolves to; "" when it has none."""
    return next(iter((*filter(None, [host.address]), *host.ipv6_addresses)), "")


def leases_ipv4(wanted: VpcDhcp) -> bool:
    """Tell whether there is a subnet whose guests get an IPv4 address."""
    return any(subnet.cidr_block for subnet in wanted.subnets)


def listens(wanted: VpcDhcp) -> bool:
    """Tell whether there is anything to serve."""
    return bool(wanted.subnets or wanted.resolver_addresses)


def gateway(subnet: DhcpSubnet) -> str:
    """Return a subnet's IPv4 gateway, which is the server's address for it."""
    network = _network(subnet)
    if not subnet.gateway:
        return str(network[1])
    address = _address(subnet.gateway, "gateway")
    if IPv4Address(address) not in network:
        raise DhcpRefusedError(f"gateway {address} is outside of {network}")
    return address


def server_of(wanted: VpcDhcp, address: str) -> str | None:
    """Return the gateway that serves an address; None when it is in none of the subnets."""
    with_ipv4 = (each for each in wanted.subnets if each.cidr_block)
    return next((gateway(each) for each in with_ipv4 if IPv4Address(address) in _network(each)), None)


def _own_lines(files: ServerFiles) -> Iterator[str]:
    """Return the lines about the process: it reads none of the host's files, and has no rights but its sockets."""
    folder = str(files.folder)
    if not folder.isprintable() or re.search(r"[\s\"'#,\\]", folder):
        raise DhcpRefusedError(f"dnsmasq cannot take the folder {folder!r}")
    yield f"user={_checked(_USER, files.user, 'user')}"
    yield f"group={_checked(_USER, files.group, 'group')}"
    yield f"pid-file={files.pid}"
    yield "no-hosts"
    yield "no-resolv"
    yield "no-poll"
    # A server that logs to syslog must not block on it.
    yield "log-async=25"


def _dhcp_lines(wanted: VpcDhcp, files: ServerFiles) -> Iterator[str]:
    """Return the lines of the DHCP service: addresses only for the hosts of DHCP_HOSTS."""
    if not wanted.subnets:
        return
    yield f"dhcp-hostsdir={files.folder}/{DHCP_HOSTS}"
    yield f"dhcp-optsdir={files.folder}/{DHCP_OPTIONS}"
    yield f"dhcp-leasefile={files.leases}"
    yield f"dhcp-lease-max={_MAX_LEASES}"
    yield "dhcp-authoritative"
    # One lease per MAC address, since firmware, initrd and the system send different client ids.
    yield "dhcp-ignore-clid"
    yield "dhcp-ignore-names"
    yield "dhcp-ignore=tag:!known"
    # The controller assigns addresses: no need to probe the network whether one is free.
    yield "no-ping"
    yield "quiet-dhcp"
    for subnet in wanted.subnets:
        tag = _checked(_ID, subnet.subnet_id, "subnet id")
        if not subnet.cidr_block:
            continue
        network = _network(subnet)
        lease = _number(wanted.lease_seconds, 120, 2**31, "lease time")  # 120: the minimum that dnsmasq accepts
        yield f"dhcp-range=set:{tag},{network.network_address},static,{network.netmask},{lease}"
        yield f"dhcp-option=tag:{tag},option:router,{gateway(subnet)}"
    servers = [_address(each, "DNS server") for each in wanted.dns_servers]
    yield ",".join(["dhcp-option=option:dns-server", *servers])
    yield from _further_options(wanted)
    yield from _ipv6_lines(wanted)
    if wanted.domain:
        yield f"domain={_checked(_NAME, wanted.domain, 'domain')}"
    if wanted.mtu:
        # Also to clients that do not request it: with a larger MTU, packets to other hosts would be lost.
        yield f"dhcp-option-force=option:mtu,{_number(wanted.mtu, 68, 65535, 'MTU')}"


def _further_options(wanted: VpcDhcp) -> Iterator[str]:
    """Return the other options of a DHCP options set (RFC 2132)."""
    ntp = [ip_address(_any_address(each, "NTP server")) for each in wanted.ntp_servers]
    if ipv4 := [str(each) for each in ntp if each.version == 4]:
        yield ",".join(["dhcp-option=option:ntp-server", *ipv4])
    if ipv6 := [f"[{each}]" for each in ntp if each.version == 6]:
        yield ",".join(["dhcp-option=option6:ntp-server", *ipv6])
    if netbios := [_address(each, "NetBIOS name server") for each in wanted.netbios_name_servers]:
        yield ",".join(["dhcp-option=option:netbios-ns", *netbios])
    if wanted.netbios_node_type:
        yield f"dhcp-option=option:netbios-nodetype,{_number(wanted.netbios_node_type, 1, 8, 'NetBIOS node type')}"


def _ipv6_lines(wanted: VpcDhcp) -> Iterator[str]:
    """Return the lines of router advertisements and DHCPv6: a guest gets one address per lease and uses its gateway.

    Only the gateway is on-link: guests of a subnet do not receive each other's frames.
    """
    subnets = [subnet for subnet in wanted.subnets if subnet.ipv6_cidr_block]
    if not subnets:
        return
    yield "enable-ra"
    for subnet in subnets:
        tag = _checked(_ID, subnet.subnet_id, "subnet id")
        network = _ipv6_network(subnet)
        lease = _number(wanted.lease_seconds, 120, 2**31, "lease time")
        yield f"dhcp-range=set:{tag},{network.network_address},static,off-link,{network.prefixlen},{lease}"
    if wanted.mtu:
        yield f"ra-param=*,mtu:{_number(wanted.mtu, 1280, 65535, 'MTU')},60"
    servers = [f"[{_ipv6_address(each, 'DNS server')}]" for each in wanted.ipv6_dns_servers]
    # Without this line dnsmasq would send its own address.
    yield ",".join(["dhcp-option=option6:dns-server", *servers])


def _dns_lines(wanted: VpcDhcp, files: ServerFiles) -> Iterator[str]:
    """Return the resolver's lines: our names from DNS_HOSTS, others from upstreams, or refused without upstreams."""
    # `interface` only where necessary, since it adds all addresses of the loopback link: access to those is limited by
    # the firewall. Routers are advertised only on links that are named. DHCP arrives at the gateways.
    yield from (f"interface={_checked(_LINK, each.link, 'link')}" for each in wanted.subnets if each.ipv6_cidr_block)
    addresses = [gateway(subnet) for subnet in wanted.subnets if subnet.cidr_block]
    addresses += [str(_ipv6_network(subnet)[1]) for subnet in wanted.subnets if subnet.ipv6_cidr_block]
    addresses += [_address(each, "resolver address") for each in wanted.resolver_addresses]
    addresses += [_ipv6_address(each, "resolver address") for each in wanted.ipv6_resolver_addresses]
    yield "bind-dynamic"
    yield from (f"listen-address={address}" for address in dict.fromkeys(addresses))
    if not wanted.resolver_addresses:
        yield "port=0"
        return
    # dnsmasq resolves the names that older leases have, but not after a restart, which a change of this line causes.
    yield f"# names {'resolve' if wanted.gives_names else 'do not resolve'}"
    yield f"hostsdir={files.folder}/{DNS_HOSTS}"
    yield f"local-ttl={_NAME_TTL}"
    yield "cache-size=1000"
    yield "domain-needed"
    yield "bogus-priv"
    yield "no-ident"
    yield f"servers-file={files.folder}/{ZONES}"
    yield from (f"rev-server={ip_network(block)}" for block in _own_blocks(wanted))
    for domain in sorted(set(wanted.domains), key=lambda each: (each.name, each.address)):
        yield f"address=/{_checked(_NAME, domain.name, 'domain')}/{_address(domain.address, 'address')}"
    # Other queries for them, such as for an IPv6 address, are not forwarded: upstreams know nothing about them.
    yield from (f"local=/{name}/" for name in sorted({domain.name for domain in wanted.domains}))
    # A loopback address is the host's resolver as seen by the host; in a VPC's namespace there is none.
    upstreams = (_any_address(each, "upstream") for each in wanted.upstreams)
    yield from (f"server={each}" for each in upstreams if not ip_address(each).is_loopback)


def _own_zones(wanted: VpcDhcp) -> list[str]:
    """List the domains of our own names: queries for them are never forwarded."""
    names = [host.name for host in wanted.hosts if host.name] + [each.name for each in wanted.names]
    zones = {_checked(_NAME, name, "name").partition(".")[2].lower() for name in names}
    return sorted(zones - {""})


def _own_blocks(wanted: VpcDhcp) -> Iterator[IPv4Network | IPv6Network]:
    """List the VPC's own blocks: reverse queries for them are answered here and never forwarded."""
    for block in wanted.private_blocks:
        try:
            yield ip_network(block)
        except ValueError as error:
            raise DhcpRefusedError(f"{block!r} is no block of addresses: {error}") from None


def _dhcp_host(host: DhcpHost, networks: dict[str, IPv4Network]) -> str:
    """Return a line of dhcp-hostsdir: the MAC address, its addresses, and the tag of its further options.

    It contains no name: dnsmasq would resolve a name while it is leased.
    """
    addresses = [_address(host.address, "address")] if host.address else []
    network = networks.get(host.subnet_id)
    if addresses and (network is None or IPv4Address(host.address) not in network):
        raise DhcpRefusedError(f"{host.interface_id}: {host.address} is in none of the VPC's subnets here")
    addresses += [f"[{_ipv6_address(each, 'address')}]" for each in host.ipv6_addresses]
    if not addresses:
        raise DhcpRefusedError(f"{host.interface_id} has no address")
    parts = [_checked(_MAC_ADDRESS, host.mac_address.lower(), "MAC address")]
    if host.host_name:
        parts.append(f"set:{_checked(_ID, host.interface_id, 'interface id')}")
    return ",".join([*parts, *addresses]) + "\n"


@lru_cache(_KNOWN_LINES)
def _dns_line(name: str, address: str) -> str:
    """Return a line in the form of /etc/hosts, from which dnsmasq answers forward and reverse queries."""
    return f"{_any_address(address, 'address')} {_checked(_NAME, name, 'name')}\n"


def _network(subnet: DhcpSubnet) -> IPv4Network:
    """Read a subnet's block."""
    try:
        network = IPv4Network(subnet.cidr_block)
    except ValueError as error:
        raise DhcpRefusedError(f"{subnet.cidr_block!r} is no block of addresses: {error}") from None
    if network.prefixlen > 30:
        raise DhcpRefusedError(f"{network} has no room for a gateway and a host")
    return network


def _address(text: str, what: str) -> str:
    """Read an IPv4 address and return it in canonical form."""
    try:
        return str(IPv4Address(text))
    except AddressValueError:
        raise DhcpRefusedError(f"{text!r} is no IPv4 address ({what})") from None


def _ipv6_network(subnet: DhcpSubnet) -> IPv6Network:
    """Read a subnet's IPv6 block."""
    try:
        network = IPv6Network(subnet.ipv6_cidr_block)
    except ValueError as error:
        raise DhcpRefusedError(f"{subnet.ipv6_cidr_block!r} is no IPv6 block: {error}") from None
    if network.prefixlen != 64:
        raise DhcpRefusedError(f"{network} is no /64, which router advertisements need (RFC 4861)")
    return network


def _ipv6_address(text: str, what: str) -> str:
    """Read an IPv6 address without a zone and return it in canonical form."""
    try:
        address = IPv6Address(text)
    except AddressValueError:
        raise DhcpRefusedError(f"{text!r} is no IPv6 address ({what})") from None
    if address.scope_id is not None:
        raise DhcpRefusedError(f"{text!r} has a zone ({what})")
    return str(address)


def _any_address(text: str, what: str) -> str:
    """Read an address of either IP version and return it in canonical form."""
    return _ipv6_address(text, what) if ":" in text else _address(text, what)


def _checked(form: re.Pattern[str], text: str, what: str) -> str:
    """Return a text if it matches the pattern, or refuse it."""
    if not form.fullmatch(text):
        raise DhcpRefusedError(f"{text!r} is no {what}")
    return text


def _number(number: int, least: int, most: int, what: str) -> int:
    """Return a number if it is within its bounds, or refuse it."""
    if not least <= number <= most:
        raise DhcpRefusedError(f"{number} is no {what}")
    return number


def _refuse_doubles(what: str, values: Iterable[str]) -> None:
    """Refuse duplicates among values that must be unique."""
    seen: set[str] = set()
    for value in values:
        if value.lower() in seen:
            raise DhcpRefusedError(f"two hosts have the {what} {value!r}")
        seen.add(value.lower())
