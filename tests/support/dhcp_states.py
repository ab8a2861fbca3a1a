"""VPCs for the DHCP tests, which change them with dataclasses.replace."""

from pathlib import Path

from stead_agent.dhcp.interface import DhcpHost, DhcpSubnet, VpcDhcp

VPC = "vpc-0123456789abcdef0"


def host(number: int, name: str | None = None) -> DhcpHost:
    """The host 172.31.0.<number>."""
    return DhcpHost(
        interface_id=f"eni-{number:017x}",
        subnet_id="subnet-a",
        mac_address=f"0e:00:00:00:00:{number:02x}",
        address=f"172.31.0.{number}",
        name=f"ip-172-31-0-{number}.ec2.internal" if name is None else name,
        host_name=f"ip-172-31-0-{number}" if name is None else "",
    )


def vpc(*numbers: int, vpc_id: str = VPC, namespace: Path = Path("/run/netns/none")) -> VpcDhcp:
    """A VPC with one subnet, 172.31.0.0/20, and these hosts in it."""
    return VpcDhcp(
        vpc_id=vpc_id,
        namespace=namespace,
        subnets=(DhcpSubnet("subnet-a", "172.31.0.0/20", "sub0"),),
        hosts=tuple(host(number) for number in numbers),
        domain="ec2.internal",
        dns_servers=("172.31.0.2",),
        resolver_addresses=("169.254.169.253", "172.31.0.2"),
        mtu=1450,
    )
