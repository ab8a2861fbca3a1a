"""A host whose volumes are in a Ceph pool dies and is given up: another has them, and what it still writes is refused."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stead_cli import processes
from stead_cli.rig_cloud import RigHost
from stead_cli.rig_plan import RigPlan
from tests.support import box, leaks
from tests.support.ceph import POOL, Ceph
from tests.support.rig import RigUser, TestRig
from tests.support.street import Street, disk
from tests.support.town import Inhabitant, default_vpc
from tests.support.waiting import wait_for

MIB = 1 << 20
_DOWN_SECONDS = 60.0  # a host is silent for 20 s before it counts as down


def test_volumes_of_a_dead_host_go_on_at_another(ceph_programs: None, tmp_path: Path) -> None:
    box.run_in_another(_takeover, tmp_path)


def _takeover(folder: Path) -> None:
    before = leaks.take_inventory()
    ceph = Ceph(address=str(RigPlan().controller_address))
    rig = TestRig(pools=(f"shared:rbd:{POOL}@{ceph.conf}:standard",))
    ceph.prepare()
    try:
        rig.up()  # before there is a cluster
        ceph.inside = processes.find(rig.rig.underlay.holder) or 0
        ceph.start()
        wait_for(lambda: all(_shares(rig, host) for host in rig.hosts), "all hosts have the pool", 30)
        with _street(rig, folder) as street:
            _story(ceph, street)
    finally:
        rig.down()
        ceph.stop()
    leaks.assert_nothing_beyond(before, "a rig on Ceph")


def _shares(rig: TestRig, host: RigHost) -> bool:
    [found] = [each for each in rig.operator.list_hosts() if each.id == rig.ids[host.name]]
    return {pool.name: pool.free > 0 for pool in found.pools}.get("shared", False)


@contextmanager
def _street(rig: TestRig, folder: Path) -> Iterator[Street]:
    """A guest on the host that will die, and one on another."""
    user = RigUser(rig, rig.new_account(), folder, rig=rig)
    one, two, _ = rig.hosts
    vpc, subnet = default_vpc(user)
    west, east = vpc.launch(one, subnet, "172.31.0.10"), vpc.launch(two, subnet, "172.31.0.11")
    yield Street(rig, user, vpc, subnet, west.booted(), east.booted())
    user.terminate_all()


def _story(ceph: Ceph, street: Street) -> None:
    one, _, three = street.rig.hosts
    ids = street.rig.ids
    served = street.at_west(VolumeType="standard")
    street.detach(served)
    street.attach(served, street.east)
    own = street.at_west(VolumeType="standard", Encrypted=True)
    assert set(ceph.rbd("ls", POOL).split()) == {f"{ids[one.name]}.{own}", f"{ids[one.name]}.{served}"}
    written = _fill(street.west, own, "west")
    _write_on(street.west, own)
    _fill(street.east, served, "east")
    _write_on(street.east, served)

    one.place.run("sh", "-c", "kill -STOP -1")  # all of the host at once
    refused = street.rig.stead("host", "remove", "--force", ids[one.name])
    assert refused.returncode != 0
    assert "is up" in refused.stderr, "it is not known to be dead yet"
    wait_for(lambda: _state(street.rig, ids[one.name]) == "down", "the controller takes it for dead", _DOWN_SECONDS)
    street.rig.stead_well("host", "remove", "--force", ids[one.name])

    images = {f"{ids[three.name]}.{own}", f"{ids[three.name]}.{served}"}
    wait_for(lambda: set(ceph.rbd("ls", POOL).split()) == images, "host 3 has taken both over", 60)

    # Whom it served waited, and goes on; what its own guest had is free, and another guest finds all that was synced.
    done = _times_written(street.east)
    wait_for(
        lambda: _times_written(street.east) > done + 5, "the guest of host 2 goes on", 60, explain=street.rig.log_ends
    )
    assert street.state(own) == "available"
    street.attach(own, street.east, "/dev/sdg")
    assert _total(street.east, own) == written
    renewed = _fill(street.east, own, "east")

    # Now the host is there again: its guest's QEMU and what served the other volume first, and then all of it.
    # (And what writes the guest's console to its file.)
    assert one.place.run("pkill", "-CONT", "-f", "qemu-system|qemu-storage|virtlogd").returncode == 0
    wait_for(
        lambda: "late write: 1" in _console(street, one),
        "its late write is refused",
        60,
        poll=0.5,
        explain=lambda: _explain(ceph, street, one),
    )
    one.place.run("sh", "-c", "kill -CONT -1")
    wait_for(lambda: _guests(one) == "", "it hears that it was removed, and ends its guest", 60, poll=0.5)
    assert _total(street.east, own) == renewed
    done = _times_written(street.east)
    wait_for(lambda: _times_written(street.east) > done + 5, "the guest of host 2 still goes on", 60)
    street.east.run("touch /tmp/enough")
    wait_for(lambda: street.east.tries("test -s /tmp/ended"), "its writer ends", 60)
    assert street.east.run("cat /tmp/ended").strip() == "0", "no write of it failed"
    assert set(ceph.rbd("ls", POOL).split()) == images

    for volume_id in (own, served):
        street.drop(volume_id)
    wait_for(lambda: ceph.rbd("ls", POOL) == "", "their images are in the trash", 60)


def _fill(guest: Inhabitant, volume_id: str, word: str) -> str:
    """Write 4 MiB of a word, and give the sum of what is there now."""
    guest.run(
        f"yes {word} | head -c {4 * MIB} >/tmp/words; sudo dd if=/tmp/words of={disk(volume_id)} bs=1M conv=fsync"
        " 2>/dev/null; rm /tmp/words",
        120,
    )
    return _total(guest, volume_id)


def _total(guest: Inhabitant, volume_id: str) -> str:
    """The sum of the first 4 MiB, from the disk itself."""
    guest.run("sync; echo 3 | sudo tee /proc/sys/vm/drop_caches >/dev/null")
    return guest.run(f"sudo dd if={disk(volume_id)} bs=1M count=4 2>/dev/null | sha256sum", 120)


def _write_on(guest: Inhabitant, volume_id: str) -> None:
    """Have a guest write beyond that, again and again, until a write fails or it is enough; its console says which."""
    guest.run(
        f"(while test ! -e /tmp/enough && yes late | sudo dd of={disk(volume_id)} bs=64k seek=1000 count=4"
        " iflag=fullblock oflag=direct; do echo >>/tmp/times; done; test -e /tmp/enough; echo $? >/tmp/ended;"
        " echo late write: $(cat /tmp/ended) | sudo tee /dev/console) >/dev/null 2>&1 &"
    )
    wait_for(lambda: _times_written(guest) > 1, "it writes", 30)


def _times_written(guest: Inhabitant) -> int:
    return int(guest.run("wc -l </tmp/times 2>/dev/null || echo 0"))


def _guests(host: RigHost) -> str:
    return host.place.run("pgrep", "-f", "qemu-system").stdout


def _state(rig: TestRig, host_id: str) -> str:
    return next(host.state for host in rig.operator.list_hosts() if host.id == host_id)


def _console(street: Street, host: RigHost) -> str:
    """What the guest of a host that is given up has written, in its host's own file."""
    logs = host.settings.agent_dir.glob(f"consoles/{street.west.id}/*")
    return "".join(log.read_text(errors="replace") for log in logs)


def _explain(ceph: Ceph, street: Street, host: RigHost) -> str:
    """What is known of the dead host's guest and of those whom Ceph keeps out."""
    return "\n".join(
        (
            _console(street, host)[-2000:],
            street.rig.emulator_log_end(street.west.id),
            str(ceph.ceph("osd", "dump")["blocklist"]),
            host.place.run("ps", "-eo", "pid,stat,wchan:20,args").stdout,
        )
    )
