"""VPC and guest namespaces as the network subsystem would make them, joined by a veth pair, and a service to ask."""

import itertools
import os
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from stead_agent.metadata.interface import ADDRESS, TIME_ADDRESS, Guest, Options
from stead_agent.metadata.service import Metadata
from tests.support.metadata_guests import guest
from tests.support.namespaces import inside

_numbers = itertools.count()


def ip(*commands: str) -> None:
    """Run ip(8) commands one by one."""
    for command in commands:
        subprocess.run(["ip", *command.split()], check=True, timeout=60)


@dataclass(frozen=True)
class Vm:
    """A namespace that plays a guest."""

    namespace: str

    def curl(self, path: str, *arguments: str) -> tuple[int, str]:
        """Ask with curl; return the status (0 = no answer) and the body."""
        command = [
            "curl",
            "--noproxy",
            "*",
            "-sS",
            "-m",
            "5",
            "-w",
            "\n%{http_code}",
            *arguments,
            f"http://{ADDRESS}{path}",
        ]
        done = subprocess.run(
            ["ip", "netns", "exec", self.namespace, *command], capture_output=True, text=True, check=False, timeout=20
        )
        body, _, status = done.stdout.rpartition("\n")
        return int(status), body

    def token(self, seconds: int = 60) -> str:
        """Get a session token with curl."""
        status, body = self.curl(
            "/latest/api/token", "-X", "PUT", "-H", f"X-aws-ec2-metadata-token-ttl-seconds: {seconds}"
        )
        assert status == 200, body
        return body

    def connect(self) -> socket.socket:
        """Open a connection to the service."""
        return inside(self.namespace, lambda: socket.create_connection((ADDRESS, 80), timeout=60))

    def talk(self, raw: bytes) -> bytes:
        """Send bytes and return all that comes until the service closes."""
        with self.connect() as sock:
            sock.sendall(raw)
            return b"".join(iter(lambda: sock.recv(65536), b""))


GUEST_IPV6 = "fd00:5:0:1::5"


def with_ipv6(vpc: "Vpc", service: str) -> "Vm":
    """Make a guest with IPv6, too, in a VPC that has a service's address of it."""
    made = vpc.vm("172.31.0.5")
    ip(
        f"-n {vpc.namespace} addr add {service}/128 dev lo nodad",
        f"-n {vpc.namespace} addr add fe80::1/64 dev v1 nodad",
        f"-n {vpc.namespace} -6 route add {GUEST_IPV6}/128 dev v1",
        f"-n {made.namespace} addr add {GUEST_IPV6}/128 dev eth0 nodad",
        f"-n {made.namespace} -6 route add default via fe80::1 dev eth0",
    )
    return made


@dataclass
class Vpc:
    """A VPC namespace with one subnet, 172.31.0.0/20, and guests' namespaces in it."""

    vpc_id: str
    namespace: str
    namespaces: list[str]

    @property
    def path(self) -> Path:
        return Path("/run/netns", self.namespace)

    def vm(self, address: str) -> Vm:
        """Make a guest's namespace with an address; its link is routed by the VPC as a /32."""
        name = f"{self.namespace}-{len(self.namespaces)}"
        self.namespaces.append(name)
        link = f"v{len(self.namespaces)}"
        ip(
            f"netns add {name}",
            f"link add {link} netns {self.namespace} type veth peer name eth0 netns {name}",
            f"-n {self.namespace} link set {link} up",
            f"-n {self.namespace} addr add 172.31.0.1/32 dev {link}",
            f"-n {self.namespace} route add {address}/32 dev {link}",
            f"-n {name} link set lo up",
            f"-n {name} addr add {address}/20 dev eth0",
            f"-n {name} link set eth0 up",
            f"-n {name} route add default via 172.31.0.1",
        )
        return Vm(name)


@contextmanager
def namespaces() -> Iterator[Callable[[], Vpc]]:
    """Make VPC namespaces that hold the services' addresses and vanish at the end with all their guests."""
    made: list[Vpc] = []

    def make() -> Vpc:
        number = next(_numbers)
        name = f"smd{os.getpid()}-{number}"
        made.append(Vpc(f"vpc-{number:017x}", name, []))
        addresses = [f"-n {name} addr add {address}/32 dev lo" for address in (ADDRESS, TIME_ADDRESS)]
        ip(f"netns add {name}", f"-n {name} link set lo up", *addresses)
        return made[-1]

    try:
        yield make
    finally:
        for vpc in made:
            for name in (*vpc.namespaces, vpc.namespace):
                ip(f"netns del {name}")


@pytest.fixture
def new_vpc() -> Iterator[Callable[[], Vpc]]:
    """A maker of VPC namespaces."""
    with namespaces() as make:
        yield make


@pytest.fixture
def vpc(new_vpc: Callable[[], Vpc]) -> Vpc:
    """One VPC namespace."""
    return new_vpc()


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Metadata]:
    """A running metadata service that serves no VPC yet."""
    made = Metadata(tmp_path)
    yield made
    made.close()


def guest_of(vpc: Vpc, number: int = 0, address: str = "172.31.0.5", **options: object) -> Guest:
    """Describe a guest of a VPC whose metadata options are those given."""
    return replace(guest(number, address, vpc.vpc_id), options=replace(Options(), **options))
