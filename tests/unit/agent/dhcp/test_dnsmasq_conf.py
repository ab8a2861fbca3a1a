"""dnsmasq's files: what is wanted and nothing else, whatever stands in names, ids and domains."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stead_agent.dhcp.dnsmasq_conf import (
    ServerFiles,
    configuration,
    host_files,
    leases_ipv4,
    listens,
    server_of,
)
from stead_agent.dhcp.interface import DhcpHost, DhcpRefusedError, DhcpSubnet, DnsDomain, DnsName, VpcDhcp
from tests.support.dhcp_states import host, vpc

FILES = ServerFiles(Path("/run/stead/dhcp/vpc-1"), "dnsmasq", "nogroup")


def options(wanted: VpcDhcp) -> list[tuple[str, str]]:
    """Read a configuration back as dnsmasq does: a line is an option, what follows # after a space is a comment."""
    read = []
    for line in configuration(wanted, FILES).splitlines():
        text = re.sub(r"(^|\s)#.*", "", line).strip()
        if text:
            name, _, value = text.partition("=")
            read.append((name, value))
    return read


def write(wanted: VpcDhcp) -> tuple[str, dict[str, str]]:
    """Write all files."""
    return configuration(wanted, FILES), host_files(wanted)


def values(wanted: VpcDhcp, name: str) -> list[str]:
    return [value for option, value in options(wanted) if option == name]


def test_configuration() -> None:
    assert configuration(vpc(5), FILES) == (
        "# DHCP and DNS of vpc-0123456789abcdef0, written by stead-agent\n"
        "user=dnsmasq\n"
        "group=nogroup\n"
        "pid-file=/run/stead/dhcp/vpc-1/pid\n"
        "no-hosts\n"
        "no-resolv\n"
        "no-poll\n"
        "log-async=25\n"
        "dhcp-hostsdir=/run/stead/dhcp/vpc-1/dhcp-hosts\n"
        "dhcp-optsdir=/run/stead/dhcp/vpc-1/dhcp-options\n"
        "dhcp-leasefile=/run/stead/dhcp/vpc-1/leases\n"
        "dhcp-lease-max=65536\n"
        "dhcp-authoritative\n"
        "dhcp-ignore-clid\n"
        "dhcp-ignore-names\n"
        "dhcp-ignore=tag:!known\n"
        "no-ping\n"
        "quiet-dhcp\n"
        "dhcp-range=set:subnet-a,172.31.0.0,static,255.255.240.0,3600\n"
        "dhcp-option=tag:subnet-a,option:router,172.31.0.1\n"
        "dhcp-option=option:dns-server,172.31.0.2\n"
        "domain=ec2.internal\n"
        "dhcp-option-force=option:mtu,1450\n"
        "bind-dynamic\n"
        "listen-address=172.31.0.1\n"
        "listen-address=169.254.169.253\n"
        "listen-address=172.31.0.2\n"
        "# names resolve\n"
        "hostsdir=/run/stead/dhcp/vpc-1/dns-hosts\n"
        "local-ttl=60\n"
        "cache-size=1000\n"
        "domain-needed\n"
        "bogus-priv\n"
        "no-ident\n"
        "servers-file=/run/stead/dhcp/vpc-1/zones\n"
    )


def test_host_files() -> None:
    wanted = replace(vpc(5, 6), names=(DnsName("ip-172-31-32-9.ec2.internal", "172.31.32.9"),))
    assert host_files(wanted) == {
        "zones": "server=/ec2.internal/\n",
        "dhcp-hosts/eni-00000000000000005": "0e:00:00:00:00:05,set:eni-00000000000000005,172.31.0.5\n",
        "dhcp-options/eni-00000000000000005": "tag:eni-00000000000000005,12,ip-172-31-0-5\n",
        "dns-hosts/eni-00000000000000005": "172.31.0.5 ip-172-31-0-5.ec2.internal\n",
        "dhcp-hosts/eni-00000000000000006": "0e:00:00:00:00:06,set:eni-00000000000000006,172.31.0.6\n",
        "dhcp-options/eni-00000000000000006": "tag:eni-00000000000000006,12,ip-172-31-0-6\n",
        "dns-hosts/eni-00000000000000006": "172.31.0.6 ip-172-31-0-6.ec2.internal\n",
        "dns-hosts/_names-76": "172.31.32.9 ip-172-31-32-9.ec2.internal\n",
    }
    assert host_files(replace(vpc(), hosts=(host(5, name=""),))) == {
        "zones": "",
        "dhcp-hosts/eni-00000000000000005": "0e:00:00:00:00:05,172.31.0.5\n",
    }


def test_all_names_of_an_address_are_in_one_file_its_main_one_first() -> None:
    names = (
        DnsName("ec2-198-51-100-7.compute-1.amazonaws.com", "172.31.0.5", main=False),
        DnsName("a.ec2.internal", "172.31.32.9", main=False),
        DnsName("i-5.ec2.internal", "172.31.0.5", main=False),
        DnsName("i-5.ec2.internal", "2001:db8::5", main=False),
        DnsName("ip-172-31-32-9.ec2.internal", "172.31.32.9"),
    )
    made = {path: text for path, text in host_files(replace(vpc(5), names=names)).items() if path.startswith("dns")}
    assert made.pop("dns-hosts/eni-00000000000000005") == (
        "172.31.0.5 ip-172-31-0-5.ec2.internal\n"
        "172.31.0.5 ec2-198-51-100-7.compute-1.amazonaws.com\n"
        "172.31.0.5 i-5.ec2.internal\n"
    )
    assert sorted(made.values()) == [
        "172.31.32.9 ip-172-31-32-9.ec2.internal\n172.31.32.9 a.ec2.internal\n",
        "2001:db8::5 i-5.ec2.internal\n",
    ]
    assert host_files(replace(vpc(5), names=names[::-1])) == host_files(replace(vpc(5), names=names))


def test_names_that_do_not_resolve_are_ours_all_the_same() -> None:
    wanted = replace(vpc(5), names=(DnsName("i-5.ec2.internal", "172.31.0.5"),), gives_names=False)
    assert host_files(wanted) == {
        "zones": "server=/ec2.internal/\n",
        "dhcp-hosts/eni-00000000000000005": "0e:00:00:00:00:05,set:eni-00000000000000005,172.31.0.5\n",
        "dhcp-options/eni-00000000000000005": "tag:eni-00000000000000005,12,ip-172-31-0-5\n",
    }
    assert configuration(wanted, FILES) != configuration(vpc(5), FILES)  # what leases remember ends with a restart


def test_hosts_do_not_change_the_configuration() -> None:
    assert configuration(vpc(5), FILES) == configuration(vpc(6, 7, 8), FILES)
    public = DnsName("ec2-198-51-100-7.compute-1.amazonaws.com", "172.31.0.5")
    assert configuration(replace(vpc(5), names=(public,)), FILES) == configuration(vpc(), FILES)


def test_without_resolver_there_is_no_dns() -> None:
    wanted = replace(vpc(5), resolver_addresses=(), dns_servers=("192.0.2.53", "192.0.2.54"))
    assert values(wanted, "port") == ["0"]
    assert values(wanted, "hostsdir") == []
    assert "option:dns-server,192.0.2.53,192.0.2.54" in values(wanted, "dhcp-option")
    assert "option:dns-server" in values(replace(wanted, dns_servers=()), "dhcp-option")


def test_only_the_upstreams_given_are_asked() -> None:
    assert values(vpc(5), "server") == []
    wanted = replace(vpc(5), upstreams=("192.0.2.53", "127.0.0.53", "198.51.100.1"))
    assert values(wanted, "server") == ["192.0.2.53", "198.51.100.1"]


def test_domains_of_services() -> None:
    """Every name of the domain has the address, and nobody else is asked for what else is asked of it."""
    wanted = replace(vpc(), domains=(DnsDomain("s3.us-east-1.amazonaws.com", "198.18.0.1"),))
    assert values(wanted, "address") == ["/s3.us-east-1.amazonaws.com/198.18.0.1"]
    assert "/s3.us-east-1.amazonaws.com/" in values(wanted, "local")
    two = replace(vpc(), domains=tuple(DnsDomain("ec2.internal.test", f"10.0.{each}.7") for each in (2, 1)))
    assert values(two, "address") == ["/ec2.internal.test/10.0.1.7", "/ec2.internal.test/10.0.2.7"]
    assert values(two, "local").count("/ec2.internal.test/") == 1
    for bad in (DnsDomain("s3/x", "198.18.0.1"), DnsDomain("s3", "x"), DnsDomain("s3\nport=0", "198.18.0.1")):
        with pytest.raises(DhcpRefusedError):
            write(replace(vpc(), domains=(bad,)))


def test_gateway() -> None:
    wanted = replace(vpc(5), subnets=(DhcpSubnet("subnet-a", "172.31.0.0/20", "sub0", "172.31.15.254"),))
    assert "tag:subnet-a,option:router,172.31.15.254" in values(wanted, "dhcp-option")
    assert server_of(wanted, "172.31.0.5") == "172.31.15.254"
    assert server_of(wanted, "172.31.16.5") is None


def test_nothing_to_serve() -> None:
    assert listens(vpc())
    assert listens(replace(vpc(), subnets=()))
    assert not listens(replace(vpc(), subnets=(), resolver_addresses=()))


HOSTILE = [
    "-x",
    "--conf-file=/etc/passwd",
    "a\nserver=192.0.2.1",
    "a\r",
    "a b",
    "a,b",
    "a#b",
    "a=b",
    "a/b",
    "a:b",
    "../a",
    'a"b',
    "a'b",
    "a\\b",
    "a\0b",
    "a%b",
    "ä",
    "a..b",
    ".a",
    "a.",
    "-a.b",
    "a-.b",
    "a" * 65,
    ".".join(["a" * 63] * 5),
    "*",
    "[::1]",
    "]]>",
]
CHANGES: dict[str, Callable[[str], VpcDhcp]] = {
    "name": lambda text: replace(vpc(), hosts=(host(5, name=text),)),
    "second label": lambda text: replace(vpc(), hosts=(host(5, name=f"a.{text}"),)),
    "host name": lambda text: replace(vpc(), hosts=(replace(host(5), host_name=text),)),
    "dns name": lambda text: replace(vpc(), names=(DnsName(text, "172.31.0.9"),)),
    "domain": lambda text: replace(vpc(), domain=text),
    "vpc id": lambda text: replace(vpc(), vpc_id=text),
    "interface id": lambda text: replace(vpc(), hosts=(replace(host(5), interface_id=text),)),
    "MAC address": lambda text: replace(vpc(), hosts=(replace(host(5), mac_address=text),)),
    "address": lambda text: replace(vpc(), hosts=(replace(host(5), address=text),)),
    "subnet id": lambda text: replace(vpc(), subnets=(DhcpSubnet(text, "172.31.0.0/20", "sub0"),)),
    "block": lambda text: replace(vpc(), subnets=(DhcpSubnet("subnet-a", text, "sub0"),)),
    "gateway": lambda text: replace(vpc(), subnets=(DhcpSubnet("subnet-a", "172.31.0.0/20", "sub0", text),)),
    "dns server": lambda text: replace(vpc(), dns_servers=(text,)),
    "resolver": lambda text: replace(vpc(), resolver_addresses=(text,)),
    "upstream": lambda text: replace(vpc(), upstreams=(text,)),
}


@pytest.mark.parametrize("where", CHANGES)
@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_texts_are_refused(where: str, text: str) -> None:
    wanted = CHANGES[where](text)
    with pytest.raises(DhcpRefusedError):
        write(wanted)


_FORMS = {
    "dhcp-hosts": r"[0-9a-f:]{17}(,set:[a-z0-9-]+)?,[0-9.]+\n",
    "dhcp-options": r"tag:[a-z0-9-]+,12,[A-Za-z0-9-]+\n",
    "dns-hosts": r"[0-9.]+ [A-Za-z0-9.-]+\n",
}


@settings(deadline=None)
@given(st.sampled_from(sorted(CHANGES)), st.text(min_size=1) | st.from_regex(r"[a-z0-9.:/,=-]{1,30}", fullmatch=True))
def test_any_text_is_refused_or_changes_only_its_own_value(where: str, text: str) -> None:
    usual = options(vpc())
    try:
        wanted = CHANGES[where](text)
        read = options(wanted)
        made = host_files(wanted)
    except DhcpRefusedError:
        return
    names = [name for name, _ in read if name not in {"server", "listen-address"}]
    assert names == [name for name, _ in usual if name not in {"server", "listen-address"}]
    assert re.fullmatch(r"(server=/[a-z0-9.-]+/\n)*", made.pop("zones"))
    for path, content in made.items():
        assert content.count("\n") == 1
        assert content.endswith("\n")
        folder, _, _ = path.partition("/")
        assert re.fullmatch(r"[a-z0-9_-]+", path.removeprefix(f"{folder}/"))
        assert re.fullmatch(_FORMS[folder], content)


@pytest.mark.parametrize(
    "wanted",
    [
        replace(vpc(), hosts=(host(5), replace(host(6), address="172.31.0.5"))),
        replace(vpc(), hosts=(host(5), replace(host(6), mac_address="0E:00:00:00:00:05"))),
        replace(vpc(), hosts=(host(5), host(5))),
        replace(vpc(), hosts=(replace(host(5), address="172.31.16.5"),)),
        replace(vpc(), hosts=(replace(host(5), subnet_id="subnet-b"),)),
        replace(vpc(), subnets=(DhcpSubnet("subnet-a", "172.31.0.0/31", "sub0"),)),
        replace(vpc(), subnets=(DhcpSubnet("subnet-a", "172.31.0.0/20", "sub0", "10.0.0.1"),)),
        replace(vpc(), mtu=65536),
        replace(vpc(), mtu=-1),
        replace(vpc(), lease_seconds=0),
    ],
)
def test_states_that_cannot_be_right_are_refused(wanted: VpcDhcp) -> None:
    with pytest.raises(DhcpRefusedError):
        write(wanted)


@pytest.mark.parametrize("folder", ["/a b", "/a\nb", "/a,b", "/a#b", '/a"b', "/a'b", "/a\\b"])
def test_folders_that_dnsmasq_would_misread_are_refused(folder: str) -> None:
    with pytest.raises(DhcpRefusedError):
        configuration(vpc(), ServerFiles(Path(folder), "dnsmasq", "nogroup"))


def ipv6_only() -> VpcDhcp:
    """A VPC with a subnet of IPv6 only beside one of IPv4, and a host in each."""
    only = DhcpHost("eni-6", "subnet-6", "0e:00:00:00:00:66", "", "i-6.internal", "i-6", ("fd00:5:0:6::5",))
    wanted = vpc(5)
    return replace(
        wanted,
        subnets=(*wanted.subnets, DhcpSubnet("subnet-6", "", "sub6", ipv6_cidr_block="fd00:5:0:6::/64")),
        hosts=(*wanted.hosts, only),
        names=(DnsName("a-6.internal", "fd00:5:0:6::5", main=False),),
    )


def test_a_subnet_of_ipv6_only() -> None:
    wanted = ipv6_only()
    assert values(wanted, "dhcp-range") == [
        "set:subnet-a,172.31.0.0,static,255.255.240.0,3600",
        "set:subnet-6,fd00:5:0:6::,static,off-link,64,3600",
    ]
    assert [value for value in values(wanted, "dhcp-option") if "option:router" in value] == [
        "tag:subnet-a,option:router,172.31.0.1"
    ]
    assert values(wanted, "listen-address")[:2] == ["172.31.0.1", "fd00:5:0:6::1"]
    files = host_files(wanted)
    assert files["dhcp-hosts/eni-6"] == "0e:00:00:00:00:66,set:eni-6,[fd00:5:0:6::5]\n"
    assert files["dns-hosts/eni-6"] == "fd00:5:0:6::5 i-6.internal\nfd00:5:0:6::5 a-6.internal\n"
    assert (server_of(wanted, "172.31.0.5"), server_of(wanted, "10.0.0.5")) == ("172.31.0.1", None)
    assert leases_ipv4(wanted)
    assert not leases_ipv4(replace(wanted, subnets=wanted.subnets[1:], hosts=()))


def test_hosts_without_any_address_are_refused_and_several_without_ipv4_are_not() -> None:
    wanted = ipv6_only()
    *others, only = wanted.hosts
    second = replace(only, interface_id="eni-7", mac_address="0e:00:00:00:00:67", ipv6_addresses=("fd00:5:0:6::7",))
    assert "dhcp-hosts/eni-7" in host_files(replace(wanted, hosts=(*others, only, second)))
    with pytest.raises(DhcpRefusedError, match="no address"):
        host_files(replace(wanted, hosts=(*others, replace(only, ipv6_addresses=()))))
