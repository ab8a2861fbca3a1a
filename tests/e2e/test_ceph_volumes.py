"""A host whose disks are in a Ceph pool: a guest boots from there, and its volumes grow, are snapshotted and restored."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from stead_cli.ssh import Login
from tests.support import box, leaks
from tests.support.ceph import POOL, Ceph
from tests.support.clients import FAST
from tests.support.real_cloud import RealCloud, User
from tests.support.waiting import wait_for

GIB = 1 << 30
MIB = 1 << 20


def test_the_life_of_volumes_in_a_ceph_pool(ceph_programs: None, tmp_path: Path) -> None:
    box.run_in_another(_life, tmp_path)


def _life(folder: Path) -> None:
    before = leaks.take_inventory()
    with _ceph() as ceph:
        cloud = RealCloud(pools=f"default:rbd:{POOL}@{ceph.conf}")
        try:
            cloud.up()
            [pool] = next(iter(cloud.operator.list_hosts())).pools
            assert (pool.backend, pool.is_default) == ("rbd", True)
            assert pool.free > GIB // 2
            _guest(ceph, cloud, User(cloud, cloud.new_account(), folder))
        finally:
            cloud.purge()
        assert ceph.rbd("ls", POOL).split() == []
        assert ceph.rbd("trash", "ls", POOL) == ""
    leaks.assert_nothing_beyond(before, "a cloud on Ceph")


@contextmanager
def _ceph() -> Iterator[Ceph]:
    made = Ceph()
    try:
        made.start()
        yield made
    finally:
        made.stop()


def _guest(ceph: Ceph, cloud: RealCloud, user: User) -> None:
    """One guest, and what happens to its disks."""
    [instance_id] = user.run()
    login = user.login(instance_id)
    [root] = [each["Ebs"]["VolumeId"] for each in user.describe(instance_id)["BlockDeviceMappings"]]
    assert any(image.endswith(f".{root}") for image in ceph.rbd("ls", POOL).split())
    assert _no_program_shows_a_key(ceph)
    volume_id, first, second = _a_volume_grows_between_two_snapshots(cloud, user, instance_id, login)
    _it_comes_back_as_it_was(user, instance_id, login, volume_id)
    restored = _restored(user, instance_id, login, first, second)
    secret = _an_encrypted_one_is_so_in_ceph(ceph, user, instance_id, login)
    assert _no_program_shows_a_key(ceph)

    user.terminate([instance_id])
    for made in (volume_id, *restored, secret):
        user.ec2.get_waiter("volume_available").wait(VolumeIds=[made], WaiterConfig=FAST)
        user.ec2.delete_volume(VolumeId=made)
    wait_for(lambda: ceph.rbd("ls", POOL).split() == [], "all images are in the trash", 60)


def _a_volume_grows_between_two_snapshots(
    cloud: RealCloud, user: User, instance_id: str, login: Login
) -> tuple[str, str, str]:
    """Return the volume and the snapshots; numbers up to 50000 are on the first one, up to 9 on the second."""
    volume_id = _volume(user, instance_id, Size=1)
    _attach(user, login, instance_id, volume_id, "/dev/sdf")
    path = _path(volume_id)
    login.run(f"sudo mkfs.ext4 -q {path}; sudo mount {path} /mnt; seq 50000 | sudo tee /mnt/numbers >/dev/null; sync")
    first = user.ec2.create_snapshot(VolumeId=volume_id)["SnapshotId"]
    login.run("seq 9 | sudo tee /mnt/numbers >/dev/null; sync")
    user.ec2.get_waiter("snapshot_completed").wait(SnapshotIds=[first], WaiterConfig=FAST)

    user.ec2.modify_volume(VolumeId=volume_id, Size=2)
    wait_for(lambda: int(login.run(f"sudo blockdev --getsize64 {path}")) == 2 * GIB, "the guest sees it grown", 30)
    login.run(f"sudo resize2fs {path}; sudo dd if=/dev/urandom of=/mnt/more bs=1M count=64 2>/dev/null; sync")
    assert int(login.run("df -k /mnt | tail -1 | tr -s ' ' | cut -d' ' -f2")) > 1_500_000

    # A new agent finds all as it is, and the changes since the first snapshot are still known.
    cloud.kill(cloud.agent)
    cloud.up()
    second = user.ec2.create_snapshot(VolumeId=volume_id)["SnapshotId"]
    user.ec2.get_waiter("snapshot_completed").wait(SnapshotIds=[second], WaiterConfig=FAST)

    return volume_id, first, second


def _it_comes_back_as_it_was(user: User, instance_id: str, login: Login, volume_id: str) -> None:
    path = _path(volume_id)
    checksum = login.run("md5sum </mnt/more")
    login.run("sudo umount /mnt")
    user.ec2.detach_volume(VolumeId=volume_id)
    user.ec2.get_waiter("volume_available").wait(VolumeIds=[volume_id], WaiterConfig=FAST)
    login.run(f"until ! [ -e {path} ]; do usleep 100000; done")
    _attach(user, login, instance_id, volume_id, "/dev/sdf")
    assert login.run(f"sudo mount {path} /mnt; md5sum </mnt/more; cat /mnt/numbers").split() == [
        *checksum.split(),
        *map(str, range(1, 10)),
    ]


def _restored(user: User, instance_id: str, login: Login, first: str, second: str) -> tuple[str, str]:
    """Return volumes made of the snapshots, in which the guest has found what it must."""
    restored = _volume(user, instance_id, SnapshotId=first)
    later = _volume(user, instance_id, SnapshotId=second)
    for name, device, made, expected in (
        ("first", "/dev/sdg", restored, "seq 50000"),
        ("second", "/dev/sdh", later, "seq 9"),
    ):
        _attach(user, login, instance_id, made, device)
        login.run(f"sudo mkdir /{name}; sudo mount {_path(made)} /{name}")
        assert login.run(f"md5sum </{name}/numbers") == login.run(f"{expected} | md5sum")
    assert login.run("md5sum </second/more") == login.run("md5sum </mnt/more")
    return restored, later


def _an_encrypted_one_is_so_in_ceph(ceph: Ceph, user: User, instance_id: str, login: Login) -> str:
    secret = _volume(user, instance_id, Size=1, Encrypted=True)
    _attach(user, login, instance_id, secret, "/dev/sdi")
    login.run(f"echo do-not-tell-anyone | sudo tee {_path(secret)} >/dev/null; sync")
    [image] = [image for image in ceph.rbd("ls", POOL).split() if image.endswith(f".{secret}")]
    plain = ceph.folder / "image"  # what is written of it
    ceph.rbd("export-diff", "--whole-object", "--no-progress", f"{POOL}/{image}", str(plain))
    assert b"do-not-tell-anyone" not in plain.read_bytes()
    plain.unlink()
    return secret


def _volume(user: User, instance_id: str, **options: Any) -> str:
    zone = user.describe(instance_id)["Placement"]["AvailabilityZone"]
    volume_id = user.ec2.create_volume(AvailabilityZone=zone, **options)["VolumeId"]
    user.ec2.get_waiter("volume_available").wait(VolumeIds=[volume_id], WaiterConfig=FAST)
    return volume_id


def _attach(user: User, login: Login, instance_id: str, volume_id: str, device: str) -> None:
    user.ec2.attach_volume(VolumeId=volume_id, InstanceId=instance_id, Device=device)
    login.run(f"until [ -b {_path(volume_id)} ]; do usleep 100000; done")


def _path(volume_id: str) -> str:
    return f"/dev/disk/by-id/virtio-{volume_id.replace('-', '')}"


def _no_program_shows_a_key(ceph: Ceph) -> bool:
    """Look at every program's arguments and environment for the key of Stead's user."""
    key = ceph.key_of_stead.encode()
    for process in Path("/proc").glob("[0-9]*"):
        for part in ("cmdline", "environ"):
            try:
                if key in (process / part).read_bytes():
                    return False
            except OSError:
                continue  # it has ended
    return True
