"""A volume is used by guests of other hosts than its home: same bytes, one user at a time, through deaths on both sides."""

import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from stead_cli import processes
from stead_cli.rig_cloud import RigHost
from stead_proto.limits import EXPORT_PORTS
from stead_proto.v1 import operator_pb2 as pb
from tests.support.real_cloud import kill
from tests.support.street import Street, disk
from tests.support.town import Inhabitant
from tests.support.waiting import wait_for

PIECE = 64 << 10  # what is written and summed at each place: an emulated guest computes long for more
WORD = "nobody-shall-read-this-on-either-host"


def repeated(word: str) -> str:
    """A command that says a word for ever, in long lines: of short ones an emulated guest says 1 MiB in a second."""
    return f"yes {' '.join([word] * 100)}"


def fill(guest: Inhabitant, volume_id: str, word: str, at: int = 0) -> str:
    """Write a piece that repeats a word at an offset in MiB, and give the sum of what is there now."""
    guest.run(
        f"{repeated(word)} | head -c {PIECE} >/tmp/words; sudo dd if=/tmp/words of={disk(volume_id)} bs=1M seek={at}"
        " conv=fsync 2>/dev/null; rm /tmp/words",
        120,
    )
    return total(guest, volume_id, at)


def total(guest: Inhabitant, volume_id: str, at: int = 0) -> str:
    """The sum of a piece at an offset in MiB, from the disk itself."""
    guest.run("sync; echo 3 | sudo tee /proc/sys/vm/drop_caches >/dev/null")
    return guest.run(f"sudo dd if={disk(volume_id)} bs=64k skip={16 * at} count=1 2>/dev/null | sha256sum", 120)


@contextmanager
def stopped(host: RigHost) -> Iterator[None]:
    """A host whose agent does nothing meanwhile."""
    running = processes.hold(host.agent)
    assert running is not None
    try:
        signal.pidfd_send_signal(running.pidfd, signal.SIGSTOP)
        yield
    finally:
        signal.pidfd_send_signal(running.pidfd, signal.SIGCONT)
        running.close()


def daemons(host: RigHost) -> list[int]:
    """The processes by which a host shares volumes."""
    return [int(word) for word in host.place.run("pgrep", "-x", "qemu-storage-da").stdout.split()]


def reaches_home(host: RigHost) -> bool:
    """Tell whether a guest's QEMU of this host has a connection of its own to a volume's home."""
    said = host.place.run("ss", "-Htnp", "state", "established").stdout
    ports = (line.split()[3].rpartition(":")[2] for line in said.splitlines() if '"qemu-system' in line)
    return any(int(port) in EXPORT_PORTS for port in ports)


def test_a_volume_goes_from_a_guest_to_one_of_another_host_and_back(street: Street) -> None:
    one, two, _ = street.rig.hosts
    volume_id = street.at_west(Encrypted=True)
    written = fill(street.west, volume_id, "west")
    street.detach(volume_id)
    street.attach(volume_id, street.east)
    assert (len(daemons(one)), len(daemons(two))) == (1, 1)
    wait_for(lambda: reaches_home(two), "the guest's QEMU asks the home itself", 30)
    assert total(street.east, volume_id) == written
    check_snapshot(street, volume_id)
    wait_for(lambda: reaches_home(two), "after the snapshot it does so again", 60)
    answer = fill(street.east, volume_id, "east", 100)
    street.detach(volume_id)
    assert daemons(one) == daemons(two) == []
    wait_for(lambda: not reaches_home(two), "nothing of it is left in the guest's QEMU", 30)
    street.attach(volume_id, street.west)
    assert total(street.west, volume_id) == written
    assert total(street.west, volume_id, 100) == answer
    street.detach(volume_id)


def check_snapshot(street: Street, volume_id: str) -> None:
    """A snapshot that another host takes of an encrypted volume has its bytes, which nobody else can read."""
    pipe = (
        f"{repeated(WORD)} | head -c {PIECE} | sudo dd of={disk(volume_id)} bs=1M seek=200 iflag=fullblock conv=fsync"
    )
    street.east.run(f"{pipe} 2>/dev/null", 120)
    snapshot_id = street.user.ec2.create_snapshot(VolumeId=volume_id)["SnapshotId"]
    street.complete(snapshot_id)
    zone = street.user.describe(street.east.id)["Placement"]["AvailabilityZone"]
    copy_id = street.user.ec2.create_volume(AvailabilityZone=zone, SnapshotId=snapshot_id)["VolumeId"]
    street.attach(copy_id, street.east, "/dev/sdg")
    assert total(street.east, copy_id, 200) == total(street.east, volume_id, 200)
    found = subprocess.run(["grep", "-rlF", "-D", "skip", WORD, street.rig.folder], capture_output=True, check=False)
    assert found.stdout == b""
    street.detach(copy_id)
    street.user.ec2.delete_volume(VolumeId=copy_id)
    street.user.ec2.delete_snapshot(SnapshotId=snapshot_id)


def test_a_guest_goes_on_when_the_ends_are_killed_and_the_agents_restarted(street: Street) -> None:
    one, two, _ = street.rig.hosts
    volume_id = street.at_west()
    street.detach(volume_id)
    street.attach(volume_id, street.east)
    wait_for(lambda: reaches_home(two), "the guest's QEMU asks the home itself", 30)
    for host in (one, two):
        # Some megabytes are under way, and none is lost, whichever end dies.
        street.east.run(
            f"({repeated(host.name)} | sudo dd of={disk(volume_id)} bs=64k count=256 iflag=fullblock conv=fsync;"
            " echo $? >/tmp/done) >/dev/null 2>&1 &"
        )
        (daemon,) = daemons(host)
        host.place.run("kill", "-9", str(daemon))
        wait_for(lambda: street.east.tries("test -s /tmp/done"), "all is written", 60, poll=0.5)
        assert street.east.run("cat /tmp/done; rm /tmp/done").strip() == "0"
        expected = street.east.run(f"{repeated(host.name)} | head -c {PIECE} | sha256sum")
        assert total(street.east, volume_id) == expected
    before = daemons(one) + daemons(two)
    for host in (one, two):
        kill(host.agent)
        host.start_agent()
    street.rig.wait_until_up()
    after = fill(street.east, volume_id, "after", 50)
    assert daemons(one) + daemons(two) == before
    street.detach(volume_id)
    street.attach(volume_id, street.west)
    assert total(street.west, volume_id, 50) == after
    street.detach(volume_id)


def test_a_guest_goes_on_while_the_authority_changes(street: Street) -> None:
    """It writes all the time; at the end the processes on both hosts, and its QEMU, know the new authority alone."""
    one, two, _ = street.rig.hosts
    volume_id = street.at_west()
    street.detach(volume_id)
    street.attach(volume_id, street.east)
    wait_for(lambda: reaches_home(two), "the guest's QEMU asks the home itself", 30)
    writes = f"dd if=/tmp/on of={disk(volume_id)} bs=16k conv=fsync"
    loop = f"until [ -e /tmp/enough ]; do {writes} || exit; usleep 300000; done; touch /tmp/well"
    street.east.run(f"{repeated('on')} | head -c {PIECE} >/tmp/on; sudo sh -c '{loop}' >/dev/null 2>&1 &")
    before = daemons(one) + daemons(two)
    known = []
    for step in ("rotate", "switch", "finish"):
        done = json.loads(street.rig.stead_well("certificate", step, "--output", "json"))
        assert (done["changed"], done["waiting"]) == (True, [])
        known.append([each["fingerprint"] for each in done["trusted"]])
    former, new = known[0]
    assert known == [[former, new], [new, former], [new]]
    assert not set(daemons(one) + daemons(two)) & set(before)
    wait_for(lambda: reaches_home(two), "the guest's QEMU asks the home itself, by its new credentials", 60)
    street.east.run("touch /tmp/enough")
    wait_for(lambda: street.east.tries("test -e /tmp/well"), "no write has failed", 60, poll=0.5)
    written = fill(street.east, volume_id, "after", 50)
    street.detach(volume_id)
    street.attach(volume_id, street.west)
    assert total(street.west, volume_id, 50) == written
    street.detach(volume_id)


def test_a_disk_grows_under_a_guest_of_another_host(street: Street) -> None:
    """An idle guest sees it at once, what was there stays, and no process of either host is another one."""
    one, two, _ = street.rig.hosts
    volume_id = street.at_west()
    street.detach(volume_id)
    street.attach(volume_id, street.east)
    written = fill(street.east, volume_id, "small")
    before = daemons(one) + daemons(two)
    street.user.ec2.modify_volume(VolumeId=volume_id, Size=3)
    wait_for(lambda: modification(street, volume_id) == "completed", f"{volume_id} has grown", 60, poll=0.5)
    sectors = street.east.run(f"cat /sys/class/block/$(basename $(readlink -f {disk(volume_id)}))/size")
    assert int(sectors) * 512 == 3 << 30
    assert total(street.east, volume_id) == written
    added = fill(street.east, volume_id, "large", 3000)
    assert total(street.east, volume_id, 3000) == added
    assert daemons(one) + daemons(two) == before
    street.detach(volume_id)


def modification(street: Street, volume_id: str) -> str:
    found = street.user.ec2.describe_volumes_modifications(VolumeIds=[volume_id])["VolumesModifications"]
    return str(found[0]["ModificationState"])


def test_a_snapshot_of_a_disk_in_use_becomes_a_disk_of_another_host(street: Street) -> None:
    """It holds what was synced before, whatever is written meanwhile and after; the next one reads what changed."""
    volume_id = street.at_west()
    ec2 = street.user.ec2
    before = fill(street.west, volume_id, "before")
    # Writes go on at another place while the snapshot is taken.
    writes = f"dd if=/tmp/more of={disk(volume_id)} bs=64k seek=3200 conv=fsync"
    loop = f"while test ! -e /tmp/enough; do {writes}; usleep 300000; done; rm /tmp/enough"
    street.west.run(f"{repeated('more')} | head -c {PIECE} >/tmp/more; sudo sh -c '{loop}' >/dev/null 2>&1 &")
    first = ec2.create_snapshot(VolumeId=volume_id)["SnapshotId"]
    street.complete(first)
    street.west.run("touch /tmp/enough")
    wait_for(lambda: street.west.tries("test ! -e /tmp/enough"), "the writer has ended", 30, poll=0.5)
    after = fill(street.west, volume_id, "after", 8)
    fill(street.west, volume_id, "gone")
    second = ec2.create_snapshot(VolumeId=volume_id)["SnapshotId"]
    street.complete(second)
    zone = street.user.describe(street.east.id)["Placement"]["AvailabilityZone"]
    for snapshot_id, places in ((first, {0: before}), (second, {8: after})):
        made = ec2.create_volume(SnapshotId=snapshot_id, AvailabilityZone=zone)["VolumeId"]
        street.attach(made, street.east)
        for at, sum_there in places.items():
            assert total(street.east, made, at) == sum_there
        street.detach(made)
        ec2.delete_volume(VolumeId=made)
        ec2.delete_snapshot(SnapshotId=snapshot_id)
    street.detach(volume_id)


def test_a_snapshot_not_begun_before_its_disk_is_released_has_that_content(street: Street) -> None:
    """The guest's host hears of both at once; its guest lets go first, and the way to the disk stays until it is read."""
    _, two, _ = street.rig.hosts
    volume_id = street.at_west()
    street.detach(volume_id)
    street.attach(volume_id, street.east)
    written = fill(street.east, volume_id, "late")
    ec2 = street.user.ec2
    with stopped(two):
        snapshot_id = ec2.create_snapshot(VolumeId=volume_id)["SnapshotId"]
        ec2.detach_volume(VolumeId=volume_id)
    street.complete(snapshot_id)
    wait_for(lambda: street.state(volume_id) == "available", f"{volume_id} is available", 60, poll=0.5)
    zone = street.user.describe(street.east.id)["Placement"]["AvailabilityZone"]
    made = ec2.create_volume(SnapshotId=snapshot_id, AvailabilityZone=zone)["VolumeId"]
    street.attach(made, street.east)
    assert total(street.east, made) == written
    street.detach(made)
    ec2.delete_volume(VolumeId=made)
    ec2.delete_snapshot(SnapshotId=snapshot_id)


def test_who_is_detached_by_force_writes_no_more(street: Street) -> None:
    """The guest's host hangs, so that it hears of nothing; its proxy goes on by itself, and the guest past it."""
    _, two, _ = street.rig.hosts
    volume_id = street.at_west()
    street.detach(volume_id)
    street.attach(volume_id, street.east)
    wait_for(lambda: reaches_home(two), "the guest's QEMU asks the home itself", 30)
    # Without end, but at its leisure, at the place that is looked at: each time to the disk that it has open, and no other.
    write = "dd if=/tmp/late of=/proc/self/fd/3 bs=64k oflag=direct conv=notrunc"
    writes = f"exec 3>{disk(volume_id)}; {write}; : >/tmp/begun; while {write}; do usleep 400000; done; : >/tmp/ended"
    street.east.run(f"{repeated('late')} | head -c {256 << 10} >/tmp/late; sudo sh -c '{writes}' >/dev/null 2>&1 &")
    wait_for(lambda: street.east.tries("test -e /tmp/begun"), "the guest writes", 30, poll=0.5)
    late = total(street.east, volume_id)
    with stopped(two):
        street.detach(volume_id, force=True)
        street.attach(volume_id, street.west)
        assert total(street.west, volume_id) == late  # so it did write there
        written = fill(street.west, volume_id, "new")
        assert total(street.west, volume_id) == written
    street.rig.wait_until_up()
    wait_for(lambda: daemons(two) == [], "the former user's proxy is gone", 60, poll=0.5)
    assert total(street.west, volume_id) == written
    street.detach(volume_id)
    wait_for(lambda: street.east.tries("test -e /tmp/ended"), "the guest wrote until its disk was taken", 60, poll=0.5)
    street.attach(volume_id, street.east)
    assert total(street.east, volume_id) == written
    street.detach(volume_id)


@pytest.mark.timeout(900)  # a guest boots twice by emulation, beside other tests
def test_an_image_of_a_stopped_instance_has_a_disk_of_another_host(street: Street) -> None:
    """Its volumes are read one after the other, here and from the other's home; whatever fails on the way is tried again.

    Then its own host is drained, so that it goes to a third one with its root volume, and back when that is drained. Then its
    own may start nothing: the third one boots it from its root volume, which stays, until it is drained with its guest.
    """
    volume_id = street.at_west()
    street.detach(volume_id)
    street.attach(volume_id, street.east)
    written = fill(street.east, volume_id, "east")
    street.east.run("echo of before | sudo tee /var/lib/note >/dev/null; sync")
    ec2 = street.user.ec2
    ec2.stop_instances(InstanceIds=[street.east.id], Force=True)
    street.user.wait("instance_stopped", [street.east.id])
    image_id = ec2.create_image(InstanceId=street.east.id, Name="of two hosts")["ImageId"]

    def state() -> str:
        return str(ec2.describe_images(ImageIds=[image_id])["Images"][0]["State"])

    wait_for(lambda: state() != "pending", "the image is there", 120, poll=0.5)
    assert state() == "available"
    [image] = ec2.describe_images(ImageIds=[image_id])["Images"]
    [snapshot_id] = [
        each["Ebs"]["SnapshotId"] for each in image["BlockDeviceMappings"] if each["DeviceName"] == "/dev/sdf"
    ]
    ec2.deregister_image(ImageId=image_id)
    street.detach(volume_id)
    zone = street.user.describe(street.west.id)["Placement"]["AvailabilityZone"]
    made = ec2.create_volume(SnapshotId=snapshot_id, AvailabilityZone=zone)["VolumeId"]
    street.attach(made, street.west)
    assert total(street.west, made) == written
    street.drop(made)
    goes_to_and_fro(street)
    starts_elsewhere(street)
    is_drained_away(street)
    assert street.east.run("cat /var/lib/note").split() == ["of", "before", "of", "elsewhere"]


def goes_to_and_fro(street: Street) -> None:
    """The stopped guest of the second host goes to the third with its root volume, and back, whoever is killed then."""
    _, two, three = street.rig.hosts
    (root,) = street.user.describe(street.east.id)["BlockDeviceMappings"]
    volume_id = root["Ebs"]["VolumeId"]
    goes(street, volume_id, two, three)
    goes(street, volume_id, three, two, kills=True)


def goes(street: Street, volume_id: str, last: RigHost, now: RigHost, *, kills: bool = False) -> None:
    """The stopped guest and its volume go from one host to another; with `kills` their agents and the controller die."""
    with cordoned(street, street.rig.hosts[0]), drained(street, last):
        if kills:
            wait_for(lambda: on_the_way(street, last, volume_id), "its content is read", 30, poll=0.1)
            for host in (last, now):
                kill(host.agent)
                host.start_agent()
            kill(street.rig.rig.controller)
            street.rig.rig.start_controller()
        wait_for(lambda: shown(street, last).state == "drained", f"{last.name} is empty", 120, poll=2)
        uses = {use.id: use.state for use in shown(street, now).uses}
        assert (uses[street.east.id], uses[volume_id]) == ("stopped", "in-use")
        wait_for(lambda: volume_id in disks(now), f"{now.name} has its root volume", 60, poll=0.5)
        assert disks(last) == []


def on_the_way(street: Street, host: RigHost, volume_id: str) -> bool:
    """Tell whether a volume is about to leave a host, or has left it."""
    notes = {use.id: use.note for use in shown(street, host).uses}
    return notes.get(volume_id) != "it waits its turn"


def is_drained_away(street: Street) -> None:
    """The guest, now of the third host, starts on the second when that is drained; its volume with a home there goes too."""
    one, two, three = street.rig.hosts
    zone = street.user.describe(street.east.id)["Placement"]["AvailabilityZone"]
    volume_id = street.user.ec2.create_volume(AvailabilityZone=zone, Size=1)["VolumeId"]
    street.attach(volume_id, street.east)
    written = fill(street.east, volume_id, "three")
    assert disks(three) == [volume_id]
    with cordoned(street, one), drained(street, three, "--stop"):
        wait_for(lambda: shown(street, three).state == "drained", f"{three.name} is empty", 240, poll=2)
        assert disks(three) == []
        assert street.east.id not in three.place.run("virsh", "list", "--all", "--name").stdout
        street.user.wait("instance_running", [street.east.id])
    street.east.booted()
    assert street.east.id in two.place.run("virsh", "list", "--name").stdout
    assert volume_id in disks(two)
    assert total(street.east, volume_id) == written
    street.drop(volume_id)


@contextmanager
def drained(street: Street, host: RigHost, *options: str) -> Iterator[None]:
    """A host that is drained while the context is open."""
    host_id = street.rig.ids[host.name]
    street.rig.stead_well("host", "drain", host_id, *options)
    try:
        yield
    finally:
        street.rig.stead_well("host", "uncordon", host_id)


@contextmanager
def cordoned(street: Street, host: RigHost) -> Iterator[None]:
    """A host that gets nothing while the context is open."""
    street.rig.operator.set_schedulable(street.rig.ids[host.name], schedulable=False)
    try:
        yield
    finally:
        street.rig.operator.set_schedulable(street.rig.ids[host.name], schedulable=True)


def shown(street: Street, host: RigHost) -> pb.Host:
    """A host as its operator sees it."""
    return street.rig.operator.show_host(street.rig.ids[host.name])


def disks(host: RigHost) -> list[str]:
    """The volumes that have a disk on a host."""
    folder = host.settings.agent_dir / "disks" / "volumes"
    return sorted(path.stem for path in folder.iterdir() if path.name.startswith("vol-"))


def starts_elsewhere(street: Street) -> None:
    """The stopped guest of the second host starts on the third, and writes there."""
    _, two, three = street.rig.hosts
    with street.rig.only(three):
        street.user.ec2.start_instances(InstanceIds=[street.east.id])
    street.east.booted()
    assert street.east.run("cat /var/lib/note").strip() == "of before"
    street.east.run("echo of elsewhere | sudo tee -a /var/lib/note >/dev/null; sync")
    assert street.east.id in three.place.run("virsh", "list", "--name").stdout
    assert street.east.id not in two.place.run("virsh", "list", "--all", "--name").stdout
    wait_for(lambda: street.west.reaches(street.east.address), "west reaches it", 30, poll=0.5)
