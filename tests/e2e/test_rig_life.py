"""The life of a rig in a box of its own: made, made again, made whole after kills and a power cut, grown, and gone."""

from pathlib import Path

from tests.support import box, leaks
from tests.support.real_cloud import qemu_process_of
from tests.support.rig import RigUser, TestRig


def test_up_and_down_again_and_again(tmp_path: Path) -> None:
    box.run_in_another(_life_of_a_rig, tmp_path)


def _life_of_a_rig(folder: Path) -> None:
    """Made, made again, made whole after kills and a power cut, grown, refused what cannot be, and gone."""
    before = leaks.take_inventory()
    made = TestRig(hosts_wanted=1)
    guests: list[str] = []
    try:
        first = made.up()
        assert made.up()["hosts"] == first["hosts"]
        assert "repaired" not in made.hosts[0].agent.log_file.read_text()  # it changed nothing of the running host
        guests.append(_made_whole(made, folder))
        _refuses(made)
    finally:
        made.down()
        made.down()  # twice is once
    leaks.assert_nothing_beyond(before, "a rig that is down")
    assert not [group for guest in guests for group in Path("/sys/fs/cgroup").rglob(f"*{guest}*")]


def _made_whole(made: TestRig, folder: Path) -> str:
    """Return the id of a guest that runs, after all of it was cut off, in the guest's first boot, and made again."""
    user = RigUser(made, made.new_account(), folder, rig=made)
    [guest] = user.run()
    assert qemu_process_of(guest) is not None
    made.hosts[0].power_off()
    assert qemu_process_of(guest) is None
    made.rig.underlay.end()
    made.hosts_wanted = 2
    known = made.up()["hosts"]
    assert list(known) == ["host-1", "host-2"]
    for host in made.hosts:
        found_out = host.agent.log_file.read_text().count("kvm_proof")
        assert not found_out, "that KVM works was known of this boot of the machine, whatever became of its hosts"
    assert user.login(guest).run("imds get meta-data/instance-id").strip() == guest, "it boots, as after a power cut"
    return guest


def _refuses(made: TestRig) -> None:
    assert "to change that (mtu)" in made.stead("rig", "up", "--mtu", "1400").stderr
    assert "fewer hosts" in made.stead("rig", "up", "--hosts", "1").stderr
    assert "is a rig" in made.stead("up").stderr
