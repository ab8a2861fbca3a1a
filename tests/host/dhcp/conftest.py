"""A VPC namespace with a gateway link, guests on it that ask with busybox udhcpc, and a folder for the servers."""

import itertools
import os
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from stead_agent.dhcp import server_process
from stead_agent.dhcp.dnsmasq import Dnsmasq
from stead_agent.dhcp.interface import VpcDhcp
from tests.support.dhcp_states import vpc as desired
from tests.support.namespaces import inside
from tests.support.waiting import wait_for

A, PTR, AAAA = 1, 12, 28
NO_ERROR, NO_SUCH_NAME, REFUSED = 0, 3, 5

_numbers = itertools.count()
_SCRIPT = """#!/bin/sh
case $1 in bound|renew|deconfig|leasefail|nak) ;; *) exit 0;; esac
echo "event=$1 ip=$ip mask=$mask router=$router dns=$dns domain=$domain mtu=$mtu lease=$lease server=$serverid \\
hostname=$hostname" >> "$LEASE_LOG"
[ "$1" = bound ] && ip addr replace "$ip/$mask" dev "$interface"
exit 0
"""


def ip(*commands: str) -> None:
    """Run ip(8) commands one by one."""
    for command in commands:
        subprocess.run(["ip", *command.split()], check=True, timeout=60)


@dataclass(frozen=True)
class Vm:
    """A namespace that plays a guest with one interface, eth0."""

    namespace: str
    folder: Path

    def run(self, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a program inside."""
        return subprocess.run(
            ["ip", "netns", "exec", self.namespace, *command],
            capture_output=True, text=True, timeout=60, check=False, env={**os.environ, **environment},
        )  # fmt: skip

    def start_client(self, log: Path) -> subprocess.Popen[bytes]:
        """Start a client that keeps its lease; SIGUSR1 makes it renew."""
        command = ["ip", "netns", "exec", self.namespace, "busybox", "udhcpc", "-f", "-i", "eth0"]
        command += ["-s", str(self.folder / "script")]
        return subprocess.Popen(command, env={**os.environ, "LEASE_LOG": str(log)}, stderr=subprocess.DEVNULL)

    def gets_nothing(self) -> bool:
        """Tell whether nobody answers a client that asks once."""
        return self.lease("-t", "1") is None

    def lease(self, *options: str) -> dict[str, str] | None:
        """Ask for a lease as a booting guest does; None = it got none in two seconds."""
        log = self.folder / "lease.log"
        log.unlink(missing_ok=True)
        command = ["busybox", "udhcpc", "-f", "-n", "-q", "-t", "2", "-T", "1", "-i", "eth0", "-O", "mtu"]
        self.run(*command, "-s", str(self.folder / "script"), *options, LEASE_LOG=str(log))
        return next((event for event in read_events(log) if event["event"] == "bound"), None)

    def ask(self, server: str, name: str, kind: int = A) -> tuple[int, list[str]]:
        """Ask a DNS server; return the response code and the answers."""
        return inside(self.namespace, lambda: ask(server, name, kind))


def read_events(log: Path) -> list[dict[str, str]]:
    """Read what udhcpc passed to its script."""
    lines = log.read_text().splitlines() if log.exists() else []
    return [dict(part.split("=", 1) for part in line.split()) for line in lines]


@dataclass
class Vpc:
    """A VPC's namespace as the network subsystem makes it: one subnet, a bridge outside, guests on the bridge."""

    name: str
    folder: Path
    namespaces: list[str]

    @property
    def path(self) -> Path:
        return Path("/run/netns", self.name)

    def vm(self, number: int) -> Vm:
        """Make a guest with the MAC address of host `number` and no address yet."""
        name = f"{self.name}-{len(self.namespaces)}"
        self.namespaces.append(name)
        folder = self.folder / name
        folder.mkdir()
        (folder / "script").write_text(_SCRIPT)
        (folder / "script").chmod(0o755)
        port = f"p{len(self.namespaces)}"
        ip(
            f"netns add {name}",
            f"link add {port} netns {self.name}-host type veth peer name eth0 netns {name}",
            f"-n {self.name}-host link set {port} master br0 up",
            f"-n {name} link set lo up",
            f"-n {name} link set eth0 address 0e:00:00:00:00:{number:02x} up",
        )
        return Vm(name, folder)

    def wanted(self, *numbers: int) -> VpcDhcp:
        """Describe this VPC with these hosts."""
        return desired(*numbers, vpc_id=f"vpc-{self.name}", namespace=self.path)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that dnsmasq's user can reach, which pytest's are not; servers left in it are killed, which fails."""
    made = Path(tempfile.mkdtemp(prefix="stead-dhcp-test-"))
    made.chmod(0o755)
    yield made
    left = [pid for path, pids in server_process.all_servers().items() if made in path.parents for pid in pids]
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    shutil.rmtree(made)
    assert not left


@pytest.fixture
def vpc(folder: Path) -> Iterator[Vpc]:
    """A VPC namespace that holds its gateway and resolver addresses; it and its guests vanish after the test."""
    name = f"sdh{os.getpid()}-{next(_numbers)}"
    made = Vpc(name, folder, [f"{name}-host"])
    ip(
        f"netns add {name}",
        f"netns add {name}-host",
        f"link add sub0 netns {name} type veth peer name gate netns {name}-host",
        f"-n {name}-host link add br0 type bridge",
        f"-n {name}-host link set br0 up",
        f"-n {name}-host link set gate master br0 up",
        f"-n {name} link set lo up",
        f"-n {name} link set sub0 up",
        f"-n {name} addr add 172.31.0.1/20 dev sub0",
        f"-n {name} addr add 172.31.0.2/32 dev lo",
        f"-n {name} addr add 169.254.169.253/32 dev lo",
        f"-n {name} addr add 169.254.169.254/32 dev lo",
    )
    yield made
    for namespace in (*made.namespaces, name):
        ip(f"netns del {namespace}")


@pytest.fixture
def dhcp(folder: Path, vpc: Vpc) -> Iterator[Dnsmasq]:
    """The subsystem with no server yet; all are removed after the test, and then nothing is left of them."""
    made = Dnsmasq(folder / "dhcp")
    yield made
    for vpc_id in made.present():
        made.remove(vpc_id)
    assert made.present() == frozenset()
    assert not list((folder / "dhcp").glob("*"))
    wait_for(lambda: not [path for path in server_process.all_servers() if folder in path.parents], "servers are gone")


def ask(server: str, name: str, kind: int) -> tuple[int, list[str]]:
    """Ask a DNS server over UDP; return the response code and the answers as `value/TTL`."""
    question = b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0"
    family = socket.AF_INET6 if ":" in server else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.settimeout(60)
        sock.connect((server, 53))  # so that a closed port is reported at once
        sock.send(struct.pack("!HHHHHH", 7, 0x0100, 1, 0, 0, 0) + question + struct.pack("!HH", kind, 1))
        answer = sock.recv(4096)
    flags, _, count = struct.unpack_from("!HHH", answer, 2)
    at = 12 + len(question) + 4
    found = []
    for _ in range(count):
        _, at = _name(answer, at)
        of_kind, _, ttl, length = struct.unpack_from("!HHIH", answer, at)
        found.append(f"{_value(answer, at + 10, of_kind)}/{ttl}")
        at += 10 + length
    return flags & 15, found


def _value(message: bytes, at: int, kind: int) -> str:
    """Read what an answer says."""
    if kind == A:
        return socket.inet_ntop(socket.AF_INET, message[at : at + 4])
    return socket.inet_ntop(socket.AF_INET6, message[at : at + 16]) if kind == AAAA else _name(message, at)[0]


def _name(message: bytes, at: int) -> tuple[str, int]:
    """Read a name of a DNS message, and tell where the next field begins (RFC 1035 section 4.1.4)."""
    labels, end = [], 0
    while length := message[at]:
        if length >= 0xC0:
            end = end or at + 2
            at = int.from_bytes(message[at : at + 2]) & 0x3FFF
        else:
            labels.append(message[at + 1 : at + 1 + length].decode())
            at += 1 + length
    return ".".join(labels), end or at + 1


def without_host(wanted: VpcDhcp, number: int) -> VpcDhcp:
    """The same state without one of its hosts."""
    return replace(wanted, hosts=tuple(host for host in wanted.hosts if host.address != f"172.31.0.{number}"))
