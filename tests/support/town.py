"""A VPC across the hosts of a rig, with real guests that serve their instance ids, made through the API."""

import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from ipaddress import ip_network
from typing import Any

from stead_cli import ssh
from stead_cli.rig_cloud import RigHost
from stead_cli.rig_places import RigPlace
from tests.support.connections import shared
from tests.support.real_cloud import BOOT_SECONDS, SSH_USER
from tests.support.rig import RigUser, TestRig
from tests.support.waiting import wait_for

ANYWHERE = "0.0.0.0/0"

# Each guest serves its instance id at port 80 of all its addresses.
_WHO = """#!/bin/sh
mkdir -p /var/www
until IMDS_TOKEN=$(imds token) imds get meta-data/instance-id >/var/www/who && test -s /var/www/who; do sleep 1; done
httpd -p 80 -h /var/www
mv /var/www/who /var/www/index.html
"""


def allow(user: RigUser, group_id: str, protocol: str, port: int, source: str) -> None:
    """Allow ingress from a CIDR block, or from a group's members; port 0 = all of the protocol."""
    peer: dict[str, Any] = (
        {"UserIdGroupPairs": [{"GroupId": source}]}
        if source.startswith("sg-")
        else {"Ipv6Ranges": [{"CidrIpv6": source}]}
        if ":" in source
        else {"IpRanges": [{"CidrIp": source}]}
    )
    ports = {} if protocol == "-1" else {"FromPort": port or -1, "ToPort": port or -1}
    permissions: Any = [{"IpProtocol": protocol, **ports, **peer}]
    user.ec2.authorize_security_group_ingress(GroupId=group_id, IpPermissions=permissions)


def new_vpc(user: RigUser, cidr: str, *, ipv6: bool = False) -> "Vpc":
    """Make a VPC with an internet gateway and a security group; one with IPv6 has a block for 256 subnets."""
    made = user.ec2.create_vpc(CidrBlock=cidr, AmazonProvidedIpv6CidrBlock=ipv6)["Vpc"]
    vpc_id = made["VpcId"]
    gateway = user.ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    user.ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc_id)
    blocks = [each["Ipv6CidrBlock"] for each in made.get("Ipv6CidrBlockAssociationSet", ())]
    return Vpc(user, vpc_id, cidr, gateway, *blocks)


def default_vpc(user: RigUser, *, ipv6: bool = False) -> "tuple[Vpc, str]":
    """The account's default VPC with a new group, and its first subnet; on demand both get an IPv6 block."""
    found = user.ec2.describe_vpcs(Filters=[{"Name": "is-default", "Values": ["true"]}])["Vpcs"][0]
    vpc_id = found["VpcId"]
    subnets = user.ec2.describe_subnets(Filters=[{"Name": "vpc-id", "Values": [vpc_id]}])["Subnets"]
    first = min(subnets, key=lambda subnet: subnet["CidrBlock"])["SubnetId"]
    if not ipv6:
        return Vpc(user, vpc_id, found["CidrBlock"]), first
    made = user.ec2.associate_vpc_cidr_block(VpcId=vpc_id, AmazonProvidedIpv6CidrBlock=True)
    block = made["Ipv6CidrBlockAssociation"]["Ipv6CidrBlock"]
    user.ec2.associate_subnet_cidr_block(SubnetId=first, Ipv6CidrBlock=_ipv6_block(block, 0))
    return Vpc(user, vpc_id, found["CidrBlock"], ipv6_cidr=block), first


def _ipv6_block(block: str, number: int) -> str:
    """The IPv6 block of a subnet, by its number among those of its VPC's block."""
    return str(list(ip_network(block).subnets(new_prefix=64))[number])


@dataclass
class Vpc:
    """A VPC and a group that allows SSH from anywhere, and all traffic from the VPC's own blocks."""

    user: RigUser
    id: str
    cidr: str
    gateway: str = ""  # of a VPC that was made here
    ipv6_cidr: str = ""
    group: str = field(init=False)

    def __post_init__(self) -> None:
        self.group = self.new_group("members")
        for block in filter(None, (self.cidr, self.ipv6_cidr)):
            allow(self.user, self.group, "-1", 0, block)

    def new_group(self, name: str) -> str:
        """Create a group that allows SSH from anywhere."""
        made = self.user.ec2.create_security_group(GroupName=name, Description=name, VpcId=self.id)["GroupId"]
        allow(self.user, made, "tcp", 22, ANYWHERE)
        return made

    def subnet(self, cidr: str, *, public: bool) -> str:
        """Create a subnet with its own route table; a public one has a default route to the internet gateway."""
        ec2 = self.user.ec2
        blocks: dict[str, Any] = {"CidrBlock": cidr}
        if self.ipv6_cidr:
            blocks["Ipv6CidrBlock"] = _ipv6_block(self.ipv6_cidr, int(ip_network(cidr)[0]) >> 8 & 255)
        subnet_id = ec2.create_subnet(VpcId=self.id, **blocks)["Subnet"]["SubnetId"]
        table = ec2.create_route_table(VpcId=self.id)["RouteTable"]["RouteTableId"]
        ec2.associate_route_table(RouteTableId=table, SubnetId=subnet_id)
        if public:
            ec2.create_route(RouteTableId=table, DestinationCidrBlock=ANYWHERE, GatewayId=self.gateway)
            ec2.modify_subnet_attribute(SubnetId=subnet_id, MapPublicIpOnLaunch={"Value": True})
        return subnet_id

    def ipv6_only_subnet(self, number: int) -> str:
        """Create a subnet without IPv4, with the IPv6 block of this number; it uses the VPC's main route table."""
        block = _ipv6_block(self.ipv6_cidr, number)
        made = self.user.ec2.create_subnet(VpcId=self.id, Ipv6CidrBlock=block, Ipv6Native=True)["Subnet"]
        return made["SubnetId"]

    def table_of(self, subnet_id: str) -> str:
        """The route table that was made for a subnet; the VPC's main one where none was."""
        tables = self.user.ec2.describe_route_tables(Filters=[{"Name": "vpc-id", "Values": [self.id]}])["RouteTables"]
        used = {
            each.get("SubnetId", ""): table for table in tables for each in table["Associations"]
        }  # "": by all others
        return used.get(subnet_id, used[""])["RouteTableId"]

    def launch(self, host: RigHost, subnet_id: str, address: str, *groups: str) -> "Inhabitant":
        """Launch a guest at this private address, with an IPv6 address if the VPC has IPv6; it may still be booting.

        Without a private address, as in an IPv6-only subnet, its address is the IPv6 one.
        """
        private: dict[str, Any] = {"PrivateIpAddress": address} if address else {}
        with self.user.rig.only(host):
            [instance_id] = self.user.run(
                wait=False,
                SubnetId=subnet_id,
                **private,
                SecurityGroupIds=list(groups) or [self.group],
                UserData=_WHO,
                Ipv6AddressCount=1 if self.ipv6_cidr else 0,
                MetadataOptions={"HttpProtocolIpv6": "enabled" if self.ipv6_cidr else "disabled"},
            )
        ipv6_address = self.user.describe(instance_id).get("Ipv6Address", "")
        return Inhabitant(self.user, host, instance_id, address or ipv6_address, ipv6_address)


@dataclass
class Inhabitant:
    """A guest of a VPC."""

    user: RigUser
    host: RigHost
    id: str
    address: str
    ipv6_address: str = ""
    bastion: "Inhabitant | None" = None  # the jump host for guests without a public address
    _connections: dict[str, ssh.Login] = field(default_factory=dict)  # by the address they go to

    @property
    def public_address(self) -> str:
        return self.user.describe(self.id).get("PublicIpAddress", "")

    def booted(self) -> "Inhabitant":
        """Wait until its host keys are on its console, it serves its id, and it has its IPv6 address, if any."""
        self.user.wait("instance_running", [self.id])
        if address := self.public_address:  # a look there costs less than one at its console
            self.user.when_booted(self.id, lambda: ssh.answers(address), "answers by SSH", poll=0.2)
        self.user.when_booted(self.id, lambda: ssh.host_keys(self.user.console(self.id)), "has booted")
        login = self.connection()
        wait_for(
            lambda: _succeeds(login, f"test -s /var/www/index.html && {_has(self.ipv6_address)}"),
            f"{self.id} is ready",
            BOOT_SECONDS,
            poll=0.5,
            explain=lambda: f"{_says(login, 'ls -l /var/www; ip -6 addr')}\n{self.user.explain(self.id)}",
        )
        return self

    def login(self, address: str = "") -> ssh.Login:
        """A login whose host keys are checked; by its public address, or through the bastion."""
        login = ssh.Login(
            address or (self.address if self.bastion else self.public_address),
            SSH_USER,
            self.user.key_file,
            self.user.folder / f"known-{self.id}",
            self.bastion.login() if self.bastion else None,
        )
        login.trust(ssh.host_keys(self.user.console(self.id)))
        return login

    def connection(self) -> ssh.Login:
        """The login whose commands share one connection; a new one when the address changes."""
        address = self.address if self.bastion else self.public_address
        if address not in self._connections:
            login, through = self.login(), self.bastion.connection() if self.bastion else None
            # Not named after the address: a long one would make the socket's path longer than the system allows.
            socket_file = self.user.folder / f"at-{len(self._connections)}-{self.id}"
            self._connections[address] = shared(login, socket_file, through)
        return self._connections[address]

    def run(self, command: str, timeout: float = 60) -> str:
        """Run a command in the guest; fail with ssh's output when it fails."""
        return self.connection().run(command, timeout)

    def tries(self, command: str) -> bool:
        """Tell whether a command succeeds in the guest."""
        return self.run(f"{command} >/dev/null 2>&1 && echo well || echo ill").strip() == "well"

    def reaches(self, address: str, seconds: int = 2) -> bool:
        """Tell whether a ping is answered in time: who expects it gives a busy machine longer."""
        return self.tries(f"ping -c 1 -W {seconds} {address}")

    def gets_out(self, address: str, port: int) -> None:
        """Connect to a server, which closes; hosts hear of a new way after the answer, so one attempt may be too early."""
        wait_for(lambda: self.tries(f"timeout 5 nc {address} {port} </dev/null"), f"{self.id} gets out", 25, poll=0.2)

    def who_is(self, address: str, seconds: int = 20) -> str:
        """The instance id that the guest at this address serves, or an empty string when none answers."""
        host = f"[{address}]" if ":" in address else address
        return self.run(f"timeout {seconds} wget -qO- http://{host}/ || true").strip()


def _has(ipv6_address: str) -> str:
    """A command that tests whether a guest can use its IPv6 address yet, if it is to have one."""
    ready = f"ip -6 addr show dev eth0 | grep -v tentative | grep -qF 'inet6 {ipv6_address}/'"
    return ready if ipv6_address else "true"


def _succeeds(login: ssh.Login, command: str) -> bool:
    return subprocess.run(login.words(command), capture_output=True, timeout=60, check=False).returncode == 0


def _says(login: ssh.Login, command: str) -> str:
    said = subprocess.run(login.words(command), capture_output=True, timeout=60, check=False, text=True)
    return said.stdout + said.stderr


@contextmanager
def listening(place: RigPlace, address: str, port: int) -> Iterator[socket.socket]:
    """A listening TCP socket in a place of the rig, on which this process can accept."""
    server = place.inside(lambda: socket.create_server((address, port)))
    try:
        server.settimeout(60)
        yield server
    finally:
        server.close()


def caller_of(server: socket.socket) -> str:
    """Accept one connection and return its source address."""
    connection, address = server.accept()
    connection.close()
    return str(address[0])


def fragments(rig: TestRig) -> dict[str, list[str]]:
    """The counters of fragmented and reassembled packets in each network namespace of each host."""
    script = (
        "for name in /proc/self/ns/net $(ls -d /run/netns/vpc-* 2>/dev/null); do"
        " nsenter --net=$name awk '/^Ip: [0-9]/ {print $15, $16, $17, $18, $19, $20}' /proc/self/net/snmp; done"
    )
    return {host.name: host.place.run("sh", "-c", script).stdout.splitlines() for host in rig.hosts}
