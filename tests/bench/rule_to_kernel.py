"""P10 and P18 on real parts: from the API's answer to a change of a rule or a member until the host's kernel enforces it.

    .venv/bin/python -m tests.bench.rule_to_kernel [--members 10000]

In a box: a cloud as `stead up` makes it, one real guest in a VPC, and simulated hosts with all other members of the
group that its rules name. The kernel itself says when a transaction of rules is in force (the netlink group of
nftables, nf_tables_commit_notify); a process in the VPC's namespace listens. What was in force before the answer came
counts as 0. Then the memory of the agent, of its metadata process and of the controller is printed.
"""

import argparse
import contextlib
import ipaddress
import multiprocessing
import multiprocessing.connection
import os
import re
import socket
import statistics
import struct
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from stead_cli import processes
from stead_proto.v1 import operator_pb2 as pb
from tests.support import box, micro
from tests.support.processes import BIN, Child
from tests.support.real_cloud import RealCloud, User
from tests.support.waiting import wait_for

ROUNDS = 30
LIMIT = 30.0
BLANK_GUEST = False  # one that boots nothing, and computes nothing
AT_ONCE = 500
_NETLINK_NETFILTER, _SOL_NETLINK, _ADD_MEMBERSHIP, _NFNLGRP_NFTABLES = 12, 270, 1, 7
_NEW_GENERATION = (10 << 8) | 15  # NFNL_SUBSYS_NFTABLES, NFT_MSG_NEWGEN: the last word on each transaction


def _listen(namespace: str, said: "multiprocessing.connection.Connection") -> None:
    """Tell of each transaction of rules in a namespace when it was in force, and all that it changed."""
    with Path(namespace).open() as file:
        os.setns(file.fileno(), os.CLONE_NEWNET)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER) as netlink:
        netlink.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 << 20)
        netlink.bind((0, 0))
        netlink.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, _NFNLGRP_NFTABLES)
        said.send((0.0, b""))
        content = b""
        while True:
            data = netlink.recv(1 << 20)
            now = time.monotonic()
            content += data
            if _NEW_GENERATION in _types(data):
                said.send((now, content))
                content = b""


def _types(data: bytes) -> Iterator[int]:
    offset = 0
    while offset + 16 <= len(data):
        length, kind = struct.unpack_from("=IH", data, offset)
        yield kind
        offset += (length + 3) & ~3


class Kernel:
    """What is in force in a VPC's namespace, as its kernel says it."""

    def __init__(self, vpc_id: str) -> None:
        self._said, theirs = multiprocessing.Pipe(duplex=False)
        context = multiprocessing.get_context("spawn")
        self.process = context.Process(target=_listen, args=(f"/run/netns/{vpc_id}", theirs), daemon=True)
        self.process.start()
        theirs.close()  # so that its end is noticed
        self._said.recv()

    def next(self, wanted: bytes = b"") -> float:
        """Wait for a transaction in which these bytes are; tell when it was in force."""
        while self._said.poll(60):
            when, content = self._said.recv()
            if wanted in content:
                return float(when)
        raise TimeoutError("the kernel was sent nothing")

    def drain(self) -> None:
        """Forget what was said."""
        while self._said.poll(0):
            self._said.recv()


class Figures:
    """What was measured."""

    failed = False

    def add(self, name: str, times: list[tuple[float, float]]) -> None:
        """Print a figure; `times` are milliseconds from the request and from the answer."""
        whole, after = sorted(each[0] for each in times), sorted(each[1] for each in times)
        median = statistics.median(after)
        self.failed |= median > LIMIT
        print(
            f"{'ok' if median <= LIMIT else 'OVER':4} P10: {name}: in force p50 {median:.1f} ms after the answer, limit "
            f"{LIMIT:g} ms (p90 {after[int(len(after) * 0.9)]:.1f}, max {after[-1]:.1f}; from the request p50 "
            f"{statistics.median(whole):.1f})",
            flush=True,
        )


def _measure(kernel: Kernel, change: Callable[[int], bytes]) -> list[tuple[float, float]]:
    times = []
    for number in range(ROUNDS):
        kernel.drain()
        asked = time.monotonic()
        wanted = change(number)
        answered = time.monotonic()
        enforced = kernel.next(wanted)
        times.append(((enforced - asked) * 1000, max(0.0, (enforced - answered) * 1000)))
        time.sleep(0.05)  # the next change must not join this one's work
    return times


class Place:
    """A VPC with a real guest, whose group lets in members of another group."""

    def __init__(self, user: User, image_id: str) -> None:
        ec2 = self.ec2 = user.ec2
        self.vpc_id = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
        self.subnet_id = ec2.create_subnet(VpcId=self.vpc_id, CidrBlock="10.0.0.0/17")["Subnet"]["SubnetId"]
        self.servers, self.clients = (
            ec2.create_security_group(GroupName=name, Description="x", VpcId=self.vpc_id)["GroupId"]
            for name in ("servers", "clients")
        )
        ec2.authorize_security_group_ingress(
            GroupId=self.servers,
            IpPermissions=[
                {"IpProtocol": "udp", "FromPort": 53, "ToPort": 53, "UserIdGroupPairs": [{"GroupId": self.clients}]}
            ],
        )
        user.run(ImageId=image_id, SubnetId=self.subnet_id, SecurityGroupIds=[self.servers])
        self.image_id = image_id

    def populate(self, members: int) -> None:
        """Give the clients' group many members, on hosts that have all the room."""
        for begin in range(0, members, AT_ONCE):
            count = min(AT_ONCE, members - begin)
            self.ec2.run_instances(
                ImageId=self.image_id,
                InstanceType="t3.nano",
                MinCount=count,
                MaxCount=count,
                SubnetId=self.subnet_id,
                SecurityGroupIds=[self.clients],
            )

    def measure(self, kernel: Kernel, figures: Figures, members: int) -> None:
        """Change rules and members."""
        ec2 = self.ec2
        found: Any = ec2.describe_network_interfaces(
            Filters=[{"Name": "group-id", "Values": [self.clients]}], MaxResults=5
        )["NetworkInterfaces"]
        interface = found[0]
        address = ipaddress.ip_address(interface["PrivateIpAddress"]).packed
        interface_id = interface["NetworkInterfaceId"]

        def permission(number: int) -> list[Any]:
            port = 20000 + number
            return [{"IpProtocol": "tcp", "FromPort": port, "ToPort": port, "IpRanges": [{"CidrIp": "192.0.2.0/24"}]}]

        def authorize(number: int) -> bytes:
            ec2.authorize_security_group_ingress(GroupId=self.servers, IpPermissions=permission(number))
            return struct.pack("!H", 20000 + number)

        def revoke(number: int) -> bytes:
            ec2.revoke_security_group_ingress(GroupId=self.servers, IpPermissions=permission(number))
            return b""

        def move(number: int) -> bytes:
            groups = [self.servers] if number % 2 == 0 else [self.clients]
            ec2.modify_network_interface_attribute(NetworkInterfaceId=interface_id, Groups=groups)
            return address

        figures.add(f"a rule more, {members} members", _measure(kernel, authorize))
        figures.add(f"a rule less, {members} members", _measure(kernel, revoke))
        figures.add(f"a member more or less, {members} members", _measure(kernel, move))


def _blank(cloud: RealCloud, folder: Path) -> str:
    """Import an image of zeros, and give its id."""
    image = folder / "blank.raw"
    image.write_bytes(bytes(1 << 20))
    header = pb.ImportImageHeader(name="blank", format="raw", file_size=1 << 20, architecture="x86_64", public=True)
    return cloud.operator.import_image(header, image, lambda _: None).image_id


def _simulated_hosts(cloud: RealCloud, folder: Path) -> Child:
    """Hosts with room for all members."""
    settings = cloud.settings
    (folder / "tokens").write_text(cloud.operator.create_token().token + "\n", encoding="ascii")
    command: list[str | Path] = [
        BIN / "stead-agent",
        "--log-level=warning",
        "simulate",
        f"--state-dir={folder}",
        f"--controller=127.0.0.1:{settings.host_port}",
        f"--enrolment=127.0.0.1:{settings.enrolment_port}",
        f"--ca={settings.ca_file}",
        f"--token-file={folder / 'tokens'}",
        "--hosts=1",
        f"--cpus={1 << 20}",
        f"--memory={1 << 46}",
    ]
    return Child("simulated hosts", command, folder / "agents.log")


def _memory(name: str, pid: int) -> None:
    """Tell a process's memory: all of it, its share, what is its alone, and how much of all are pages of files."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
    mib = {key: int(value) / 1024 for key, value in re.findall(r"^(\w+): +(\d+) kB", text, re.MULTILINE)}
    files = mib["Rss"] - mib["Anonymous"]
    alone = mib["Private_Clean"] + mib["Private_Dirty"]
    print(
        f"     P18: {name}: RSS {mib['Rss']:.1f} MiB (of it files {files:.1f}), PSS {mib['Pss']:.1f}, USS {alone:.1f}",
        flush=True,
    )


def _memories(cloud: RealCloud) -> None:
    agent, controller = processes.find(cloud.agent), processes.find(cloud.controller)
    assert agent is not None
    assert controller is not None
    _memory("agent", agent)
    _memory("controller", controller)
    for folder in Path("/proc").iterdir():
        with contextlib.suppress(OSError):  # no process, or none any more
            if b"stead_agent.metadata" in (folder / "cmdline").read_bytes() and box.ours(folder.name):
                _memory("metadata", int(folder.name))


def _run(members: int, folder: Path) -> bool:
    figures = Figures()
    cloud = RealCloud()
    simulated: Child | None = None
    try:
        cloud.up()
        user = User(cloud, cloud.account, folder)
        place = Place(user, _blank(cloud, folder) if BLANK_GUEST else user.image_id)
        simulated = _simulated_hosts(cloud, folder)
        simulated.start()
        wait_for(lambda: len(cloud.operator.list_hosts()) == 2, "the simulated host is there", 60)
        time.sleep(1)  # its room is known with its Hello
        place.populate(10)
        kernel = Kernel(place.vpc_id)
        _settle(place, kernel)
        place.measure(kernel, figures, 10)
        _memories(cloud)
        if members > 10:
            began = time.monotonic()
            place.populate(members - 10)
            _settle(place, kernel)
            print(f"     {members} members after {time.monotonic() - began:.0f} s", flush=True)
            place.measure(kernel, figures, members)
            _memories(cloud)
        kernel.process.terminate()
    finally:
        if simulated is not None:
            simulated.stop()
        cloud.purge()
    return figures.failed


def _settle(place: Place, kernel: Kernel) -> None:
    """Wait until all that was said so far is in force: a change that comes after it is."""
    port = 30000
    for change in (place.ec2.authorize_security_group_ingress, place.ec2.revoke_security_group_ingress):
        kernel.drain()
        change(GroupId=place.servers, IpProtocol="tcp", FromPort=port, ToPort=port, CidrIp="192.0.2.0/24")
        kernel.next(struct.pack("!H", port) if change == place.ec2.authorize_security_group_ingress else b"")
    time.sleep(2)  # other parts of the VPC, such as names, follow


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--members", type=int, default=10_000)
    members = parser.parse_args().members
    micro.build()
    box.enter()
    with tempfile.TemporaryDirectory() as folder:
        sys.exit(_run(members, Path(folder)))


if __name__ == "__main__":
    main()
