"""The bill of a rig is what was watched from outside: libvirt's logs, API calls, counters of nft, the blocks of a pool.

Guests of several types run, stop, change their type and send, with kills of controllers and agents between.
"""

import json
import re
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from stead_cli import ssh
from stead_cli.rig_cloud import RigHost
from stead_controller.metering import months
from tests.support import box, halting_image
from tests.support.real_cloud import BOOT_SECONDS, kill
from tests.support.rig import RigUser, TestRig
from tests.support.town import Inhabitant, Vpc, default_vpc
from tests.support.waiting import wait_for

OUT, REGIONAL = "DataTransfer-Out-Bytes", "DataTransfer-Regional-Bytes"
GIB = 1 << 30
MONTH = months.seconds_of(int(datetime.now(UTC).timestamp()))  # a price of a GiB is for a month of its own length
FAR = "203.0.113.1"  # a server of the rig's internet
LEAST = 60  # seconds that each run of an instance is billed for
REPORT_SECONDS = 20  # within which a busy host says that a guest runs
_BEGAN, _ENDED = re.compile(r"^(\S+ \S+)\+0000: starting up"), re.compile(r"^(\S+ \S+)\+0000: shutting down")


@dataclass
class Watched:
    """How many seconds each resource was used of each kind, times the quantity: at least and at most."""

    least: defaultdict[tuple[str, str], float] = field(default_factory=lambda: defaultdict(float))
    most: defaultdict[tuple[str, str], float] = field(default_factory=lambda: defaultdict(float))
    rounded: defaultdict[tuple[str, str], int] = field(default_factory=lambda: defaultdict(int))

    def add(
        self, resource: str, usage: str, begin: tuple[float, float], end: tuple[float, float], quantity: int = 1
    ) -> None:
        """Add a use that began and ended in these times; the bill rounds both down to whole seconds."""
        shortest = LEAST if usage.startswith("BoxUsage:") else 0
        self.least[resource, usage] += quantity * max(shortest, end[0] - begin[1])
        self.most[resource, usage] += quantity * max(shortest, end[1] - begin[0])
        self.rounded[resource, usage] += quantity

    def check(self, billed: dict[tuple[str, str], Fraction]) -> None:
        """Compare with the seconds of a bill."""
        for key, least in self.least.items():
            seconds, most, rounded = billed.get(key, Fraction(0)), self.most[key], self.rounded[key]
            print(f"{key[0]} {key[1]}: billed {float(seconds):.0f} s, watched {least:.2f} to {most:.2f} s")
            assert seconds.denominator == 1, (key, seconds)
            assert least - rounded <= seconds <= most + rounded, (key, float(seconds), least, most)


def now() -> float:
    """Return the time of day."""
    return datetime.now(UTC).timestamp()


def timed[Found](act: Callable[[], Found]) -> tuple[Found, tuple[float, float]]:
    """Do something; return what it gives, and between which moments it was done."""
    begin = now()
    found = act()
    return found, (begin, now())


@dataclass
class Scene:
    """A rig of two zones with a host in each, and an account that is watched."""

    rig: TestRig
    user: RigUser
    vpc: Vpc
    watched: Watched = field(default_factory=Watched)
    addresses: set[str] = field(default_factory=set)  # public ones that guests have had

    def subnet(self, host: RigHost) -> str:
        """Return the default subnet of a host's zone."""
        zones = {one.id: one.zone for one in self.rig.operator.list_hosts()}
        mine = [{"Name": "availability-zone", "Values": [zones[self.rig.ids[host.name]]]}]
        of_vpc = {"Name": "vpc-id", "Values": [self.vpc.id]}
        found: Any = self.user.ec2.describe_subnets(Filters=[*mine, of_vpc])["Subnets"]  # type: ignore[list-item]  # its own type of pairs
        return str(found[0]["SubnetId"])

    def launch(self, host: RigHost, address: str) -> Inhabitant:
        """Launch a guest and wait until it answers."""
        guest = self.vpc.launch(host, self.subnet(host), address).booted()
        self.addresses.add(guest.public_address)
        return guest

    def log(self, host: RigHost, guest_id: str, which: re.Pattern[str]) -> list[float]:
        """Return when libvirt began, or ended, a guest's process, by its own log."""
        [path] = (self.rig.folder / "hosts").glob(f"{host.name.rpartition('-')[2]}/libvirt/log/qemu/{guest_id}.log")
        found = (which.match(line) for line in path.read_text(errors="replace").splitlines())
        return [datetime.fromisoformat(f"{one[1]}+00:00").timestamp() for one in found if one]

    def runs(self, host: RigHost, guest_id: str, usage: str, number: int, end: tuple[float, float]) -> None:
        """Note a run of a guest: from libvirt's start of it, which its host then reports."""
        began = self.log(host, guest_id, _BEGAN)[number]
        self.watched.add(guest_id, usage, (began, began + REPORT_SECONDS), end)

    def watch_packets(self) -> None:
        """Count outside of the VPC what comes out of it by each public address, and from another host into it."""
        for host in self.rig.hosts:
            counted = "set out {\ntype ipv4_addr;\nflags dynamic;\nsize 1024;\n}"
            chain = 'type filter hook prerouting priority -300;\n iifname "sti*" add @out { ip saddr counter }'
            _nft(host, "", f"table inet watch {{\n{counted}\nchain seen {{\n{chain}\n}}\n}}\n")

    def watch_arrivals(self, host: RigHost) -> None:
        """Count what comes from other hosts into the VPC on this one."""
        counted = "set got {\ntype ipv4_addr;\nflags dynamic;\nsize 1024;\n}"
        chain = 'type filter hook prerouting priority -300;\n iifname "vx" add @got { ip saddr counter }'
        _nft(host, self.vpc.id, f"table inet watch {{\n{counted}\nchain seen {{\n{chain}\n}}\n}}\n")

    def sent_out(self) -> int:
        """Return the bytes that were seen outside, of all public addresses."""
        sums = [_elements(_nft(host, "", "", "list", "set", "inet", "watch", "out")) for host in self.rig.hosts]
        return sum(count for one in sums for address, count in one.items() if address in self.addresses)

    def arrived(self, host: RigHost, sender: str) -> int:
        """Return the bytes from a private address that have come to a host."""
        return _elements(_nft(host, self.vpc.id, "", "list", "set", "inet", "watch", "got")).get(sender, 0)

    def bill(self) -> dict[tuple[str, str, str], Fraction]:
        """Return the quantities of today's bill, by resource, use and operation."""
        today = int(now()) // 86400 * 86400
        lines = self.rig.operator.bill(self.user.account.account_id, today - 86400, today + 86400, by_resource=True)
        found: defaultdict[tuple[str, str, str], Fraction] = defaultdict(Fraction)
        for line in lines:
            found[line.resource_id, line.usage, line.operation] += Fraction(line.quantity)
        return found

    def seconds(self) -> dict[tuple[str, str], Fraction]:
        """Return the seconds of today's bill, by resource and use; of storage those of one GiB."""
        found: dict[tuple[str, str], Fraction] = {}
        for (resource, usage, _), quantity in self.bill().items():
            exact = quantity * (MONTH if usage.startswith("EBS:") else 3600)
            whole = Fraction(round(exact))
            found[resource, usage] = whole if abs(float(exact - whole)) < 1e-6 else exact
        return found

    def bytes_of(self, usage: str, operation: str) -> int:
        """Return the bytes of today's bill."""
        exact = sum(
            (one * GIB for (_, name, what), one in self.bill().items() if (name, what) == (usage, operation)),
            Fraction(0),
        )
        assert abs(exact - round(exact)) < Fraction(1, 10**3)
        return round(exact)


def _nft(host: RigHost, vpc_id: str, rules: str, *words: str) -> str:
    inside = ["nsenter", f"--net=/run/netns/{vpc_id}"] if vpc_id else []
    done = host.place.run(*inside, "nft", *(("-j", *words) if words else ("-f", "-")), stdin=rules)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _elements(text: str) -> dict[str, int]:
    """Return the bytes of each element of a set, as nft lists it."""
    [found] = [one["set"] for one in json.loads(text)["nftables"] if "set" in one]
    return {one["elem"]["val"]: one["elem"]["counter"]["bytes"] for one in found.get("elem", [])}


@pytest.mark.timeout(1800)  # several guests by emulation, beside other tests
def test_seconds_and_bytes(tmp_path: Path) -> None:
    box.run_in_another(_story, tmp_path)


def _story(folder: Path) -> None:
    rig = TestRig(hosts_wanted=2, zones=2)
    try:
        rig.up()
        try:
            _watch_a_bill(rig, folder)
        except BaseException:
            print(rig.log_ends())
            raise
    finally:
        rig.down()


def _watch_a_bill(rig: TestRig, folder: Path) -> None:
    user, other = (RigUser(rig, rig.new_account(), folder, name, rig=rig) for name in ("one", "other"))
    scene = Scene(rig, user, default_vpc(user)[0])
    scene.watch_packets()
    near, far = rig.hosts
    west, east = scene.launch(near, "172.31.0.20"), _in_zone_two(scene, far)
    scene.watch_arrivals(far)
    shell, far_shell = west.connection(), east.connection()  # which need no controller
    _use_storage_and_an_address(scene, west)
    _send(shell, east)
    kill(near.agent)
    _send(shell, east)  # the kernel counts on
    rig.up()
    _send(shell, east)
    kill(rig.rig.controller)
    _send(shell, east)  # the agent tells later
    _ends_by_itself(scene, far, east, far_shell)
    rig.up()
    wait_for(lambda: user.state(east.id) == "stopped", "the controller hears of it", 60)
    _changes_its_type(scene, near, west, other)
    _compare(scene, far, west)


def _in_zone_two(scene: Scene, host: RigHost) -> Inhabitant:
    """Launch a guest in the subnet of the other zone."""
    block = scene.user.ec2.describe_subnets(SubnetIds=[scene.subnet(host)])["Subnets"][0]["CidrBlock"]
    return scene.launch(host, f"{block.rpartition('.')[0]}.30")


def _send(shell: ssh.Login, east: Inhabitant) -> None:
    """Send packets to the internet, and to the other zone."""
    shell.run(f"ping -c 25 -i 0.1 -s 1300 {FAR} >/dev/null; ping -c 25 -i 0.1 -s 1200 {east.address} >/dev/null", 120)


def _use_storage_and_an_address(scene: Scene, west: Inhabitant) -> None:
    """Make, change and delete a volume, a snapshot and an Elastic IP address."""
    ec2, watched = scene.user.ec2, scene.watched
    zone = scene.user.describe(west.id)["Placement"]["AvailabilityZone"]
    made, began = timed(lambda: ec2.create_volume(AvailabilityZone=zone, Size=3, VolumeType="gp3")["VolumeId"])
    address, allocated = timed(lambda: ec2.allocate_address()["AllocationId"])
    ec2.get_waiter("volume_available").wait(VolumeIds=[made])
    root = scene.user.describe(west.id)["BlockDeviceMappings"][0]["Ebs"]["VolumeId"]
    west.run("dd if=/dev/urandom of=/var/tmp/new bs=1M count=3 2>/dev/null; sync")
    snapshot = ec2.create_snapshot(VolumeId=root)["SnapshotId"]
    before = now()
    while not _is_complete(scene, snapshot):
        before = now()
    completed = (before - 1, now())
    blocks = _blocks_of(scene, snapshot)
    _, changed = timed(lambda: ec2.modify_volume(VolumeId=made, Size=5))
    _, released = timed(lambda: ec2.release_address(AllocationId=address))
    wait_for(lambda: _is_modified(scene, made), "the volume is modified", 120)
    _, deleted = timed(lambda: ec2.delete_volume(VolumeId=made))
    wait_for(lambda: now() > completed[1] + 3, "it was there for some seconds", 10)
    _, gone = timed(lambda: ec2.delete_snapshot(SnapshotId=snapshot))
    usage = "EBS:VolumeUsage.gp3"
    for size, begin, end in ((3, began, changed), (5, changed, deleted)):
        watched.add(made, usage, begin, end, size)
    watched.add(address, "PublicIPv4:IdleAddress", allocated, released)
    used = scene.bill()[snapshot, "EBS:SnapshotUsage", "CreateSnapshot"] * MONTH * 2048  # blocks times seconds
    least, most = gone[0] - completed[1] - 1, gone[1] - completed[0] + 1
    print(
        f"{snapshot}: billed {float(used):.3f} block seconds, watched {blocks} blocks for {least + 1:.2f} to {most - 1:.2f} s"
    )
    assert abs(used - round(used)) < Fraction(1, 1000)
    assert least * blocks <= used <= most * blocks


def _is_complete(scene: Scene, snapshot_id: str) -> bool:
    return scene.user.ec2.describe_snapshots(SnapshotIds=[snapshot_id])["Snapshots"][0]["State"] == "completed"


def _blocks_of(scene: Scene, snapshot_id: str) -> int:
    """Count the blocks of a snapshot, as EBS's direct API lists them."""
    ebs, count = scene.user.account.client("ebs"), 0
    token: dict[str, str] = {}
    while True:
        page = ebs.list_snapshot_blocks(SnapshotId=snapshot_id, **token)
        count += len(page["Blocks"])
        if not page.get("NextToken"):
            return count
        token = {"NextToken": page["NextToken"]}


def _is_modified(scene: Scene, volume_id: str) -> bool:
    found = scene.user.ec2.describe_volumes_modifications(VolumeIds=[volume_id])["VolumesModifications"]
    return all(one["ModificationState"] == "completed" for one in found)


def _ends_by_itself(scene: Scene, host: RigHost, guest: Inhabitant, shell: ssh.Login) -> None:
    """Let a guest power itself off while no controller is there: it is billed until its process ended."""
    with suppress(AssertionError):  # the connection ends with it
        shell.run("sudo poweroff >/dev/null 2>&1 &")
    [ended] = wait_for(lambda: scene.log(host, guest.id, _ENDED), "the guest's process has ended", BOOT_SECONDS)
    scene.runs(host, guest.id, "BoxUsage:stead.small", 0, (ended - 1, ended + 1))


def _changes_its_type(scene: Scene, host: RigHost, guest: Inhabitant, other: RigUser) -> None:
    """Stop a guest, start it as another type, and terminate it: it is billed to that moment, though it hears nothing of it."""
    ec2 = scene.user.ec2
    halting_image.instead_of_further_boots(guest.run)  # nobody asks it anything any more
    _, stopped = timed(lambda: ec2.stop_instances(InstanceIds=[guest.id]))
    scene.user.wait("instance_stopped", [guest.id])
    scene.runs(host, guest.id, "BoxUsage:stead.small", 0, stopped)
    ec2.modify_instance_attribute(InstanceId=guest.id, InstanceType={"Value": "stead.tiny"})
    with scene.rig.only(host):
        ec2.start_instances(InstanceIds=[guest.id])
    scene.user.wait("instance_running", [guest.id])
    scene.addresses.add(guest.public_address)
    began = scene.log(host, guest.id, _BEGAN)[1]
    _another_account(scene, other)
    kill(host.agent)
    scene.rig.up()
    wait_for(lambda: now() > began + LEAST + REPORT_SECONDS, "it has run for longer than is billed in any case", 120)
    _, ended = timed(lambda: ec2.terminate_instances(InstanceIds=[guest.id]))
    scene.user.wait("instance_terminated", [guest.id])
    scene.runs(host, guest.id, "BoxUsage:stead.tiny", 1, ended)


def _another_account(scene: Scene, other: RigUser) -> None:
    """Let another account have a guest for a moment: each sees its own bill alone."""
    [guest] = other.run(InstanceType="stead.tiny", ImageId=halting_image.add(scene.rig.operator, other.folder))
    other.ec2.terminate_instances(InstanceIds=[guest], SkipOsShutdown=True)
    other.wait("instance_terminated", [guest])
    for one, mine in ((scene.user, {"stead.small", "stead.tiny"}), (other, {"stead.tiny"})):
        today = datetime.now(UTC).date()
        asked = {
            "TimePeriod": {"Start": f"{today}", "End": f"{today.fromordinal(today.toordinal() + 1)}"},
            "Granularity": "DAILY",
            "Metrics": ["UsageQuantity"],
        }
        found = set()
        for key in ("LINKED_ACCOUNT", "INSTANCE_TYPE"):
            groups = [{"Type": "DIMENSION", "Key": key}]
            [answer] = one.account.client("ce").get_cost_and_usage(**asked, GroupBy=groups)["ResultsByTime"]
            found |= {value for group in answer["Groups"] for value in group["Keys"]}
        assert found - {"NoInstanceType"} == {one.account.account_id, *mine}
    resources = {resource for resource, _, _ in scene.bill()}
    assert guest not in resources


def _compare(scene: Scene, far: RigHost, west: Inhabitant) -> None:
    """Wait until hosts have told all bytes, and compare."""
    out = scene.sent_out()
    arrived = scene.arrived(far, west.address)

    def told() -> bool:
        billed = scene.bytes_of(OUT, "RunInstances")
        return billed >= out and scene.bytes_of(REGIONAL, "InterZone-Out") >= arrived

    def explain() -> str:
        return f"{scene.bytes_of(OUT, 'RunInstances')} of {out}, {scene.bill()}"

    wait_for(told, "the hosts have told what passed", 180, poll=2, explain=explain)
    zones = {way: scene.bytes_of(REGIONAL, f"InterZone-{way}") for way in ("Out", "In")}
    sent = scene.bytes_of(OUT, "RunInstances")
    print(f"to the internet: billed {sent} bytes, watched {scene.sent_out()}; between zones {zones}, watched {arrived}")
    assert sent == scene.sent_out() == out
    of_west = {way: round(scene.bill()[west.id, REGIONAL, f"InterZone-{way}"] * GIB) for way in ("Out", "In")}
    assert of_west == {"Out": arrived, "In": arrived}
    assert out > 4 * 25 * 1300
    assert arrived > 4 * 25 * 1200
    scene.watched.check(scene.seconds())
