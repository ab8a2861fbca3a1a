"""What must be plugged in and pulled out to make a running domain match its spec."""

from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stead_agent.disks.disk_sources import FileSource, NbdSource, RbdSource
from stead_agent.machines.attach import Changes, Detach, Limit, changes, plugged
from stead_agent.machines.domain_xml import HostSide, render_domain
from stead_agent.machines.interface import Disk, MachineError, MachineSpec, Nic, instance_store_id
from stead_agent.machines.life import Record

DISKS = [Disk(f"vol-{n:017x}", FileSource(Path(f"/v/{n}")), "qcow2") for n in range(6)]
STORE = Disk(instance_store_id("i-0123456789abcdef0", 0), FileSource(Path("/v/store")), "qcow2")
NICS = [Nic(f"eni-{n}", f"0a:00:00:00:00:0{n}", "br", f"tap{n}") for n in range(6)]


def spec(disks, nics):
    return MachineSpec("i-0123456789abcdef0", 1, 1 << 30, tuple(disks), tuple(nics))


def live(machine):
    return render_domain(machine, Record("us"), HostSide("qemu", 1, Path("/l"), Path("/s"), Path("/n"), Path("/q")))


SOME_DISKS = st.lists(st.sampled_from(DISKS), min_size=1, unique=True)
SOME_NICS = st.lists(st.sampled_from(NICS), unique=True)


@given(SOME_DISKS, SOME_NICS, SOME_DISKS, SOME_NICS)
def test_the_changes_lead_from_one_to_the_other(disks, nics, wanted_disks, wanted_nics):
    domain = ET.fromstring(live(spec(disks, nics)))
    wanted = spec(wanted_disks, wanted_nics)
    todo = changes(live(spec(disks, nics)), wanted)
    devices = domain.find("devices")
    for each in todo.detach:
        gone = next(
            device
            for device in devices
            if device.findtext("serial") == each.subject
            or ((mac := device.find("mac")) is not None and mac.get("address") == each.subject)
        )
        devices.remove(gone)
    targets = [target.get("dev") for target in devices.iterfind("disk/target")]
    for text in todo.attach:
        devices.append(ET.fromstring(text))
    assert changes(ET.tostring(domain, encoding="unicode"), wanted) == Changes((), (), ())
    after = [target.get("dev") for target in devices.iterfind("disk/target")]
    assert len(set(after)) == len(after)
    assert set(targets) <= set(after)


def test_limits_of_a_disk_that_stays_are_set():
    was = spec([replace(DISKS[0], iops=100), DISKS[1]], [])
    wanted = spec([replace(DISKS[0], iops=200, throughput=5), DISKS[1]], [])
    assert changes(live(was), wanted) == Changes((), (), (Limit("vda", 5, 200),))
    assert changes(live(was), spec(DISKS[:2], [])).limits == (Limit("vda", 0, 0),)


def test_all_of_a_limit_is_said():
    """An operation of up to 256 KiB counts as one, as EC2 counts; without a limit of operations that is taken back."""
    assert Limit("vda", 5, 200).parameters() == {
        "total_bytes_sec": 5, "total_iops_sec": 200, "size_iops_sec": 256 << 10
    }  # fmt: skip
    assert Limit("vda", 5, 0).parameters() == {"total_bytes_sec": 5, "total_iops_sec": 0, "size_iops_sec": 0}


def test_devices_without_a_name_are_no_obstacle():
    disk = f"<disk><serial>{DISKS[0].id.replace('-', '')}</serial></disk>"
    nics = (
        "<interface/><interface><mac address='0a:00:00:00:00:00'/></interface><interface><target dev='t'/></interface>"
    )
    found = plugged(f"<domain><devices>{disk}{nics}</devices></domain>")
    assert (found.targets, dict(found.taps)) == ({DISKS[0].id: ""}, {})


def test_what_must_go_is_named_as_libvirt_does():
    nic = "<interface><mac address='0a:00:00:00:00:00'/><alias name='ua-net0'/></interface>"
    todo = changes(f"<domain><devices>{nic}</devices></domain>", spec([], []))
    assert todo.detach == (Detach("0a:00:00:00:00:00", "ua-net0"),)


def test_a_domain_without_devices_is_no_domain_of_ours():
    with pytest.raises(MachineError, match="shows no devices"):
        changes("<domain/>", spec([], []))


def test_a_disk_is_found_by_its_serial():
    targets = plugged(live(spec([*DISKS[:3], STORE], []))).targets
    assert targets == {DISKS[0].id: "vda", DISKS[1].id: "vdb", DISKS[2].id: "vdc"}


def test_a_nics_tap_is_found_by_its_address():
    assert plugged(live(spec(DISKS[:1], NICS[:2]))).taps == {"0a:00:00:00:00:00": "tap0", "0a:00:00:00:00:01": "tap1"}


def test_only_disks_of_other_hosts_are_connected_anew():
    ours = replace(DISKS[0], source=RbdSource("stead", "h-1.vol-1", Path("/etc/ceph/ceph.conf"), "stead"))
    theirs = replace(DISKS[1], source=NbdSource(Path("/s"), DISKS[1].id))
    assert list(plugged(live(spec([ours, theirs], []))).aliases) == [theirs.id]


def test_a_hostile_spec_is_refused():
    with pytest.raises(MachineError):
        changes(live(spec(DISKS[:1], [])), spec([DISKS[0], replace(DISKS[1], source=FileSource(Path("/v/a'b")))], []))
