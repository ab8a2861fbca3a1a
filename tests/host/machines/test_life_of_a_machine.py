"""Machines on a real libvirt: started, stopped, killed, forgotten and learned again."""

import contextlib
import os
import shutil
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path

import libvirt
import pytest
from pyroute2 import IPRoute

from stead_agent.machines import libvirt_machines
from stead_agent.machines.boot_clock import Patience
from stead_agent.machines.interface import MachineAbsentError, MachineError, OffReason, Power

from .conftest import wait_for


def test_a_machine_is_started_once_per_number(world):
    spec = world.spec()
    status = world.machines.start(spec, 1, reboot_count=2)
    assert (status.power, status.start_count, status.reboot_count) == (Power.RUNNING, 1, 2)
    process = world.process_of(spec.id)
    assert world.machines.start(spec, 1).power is Power.RUNNING
    assert world.process_of(spec.id) == process
    assert world.machines.present() == {spec.id}
    with pytest.raises(MachineError, match="2 must wait"):
        world.machines.start(spec, 2)


def test_a_stop_by_force_is_asked_and_a_new_start_needs_a_new_number(world):
    spec = world.spec()
    world.machines.start(spec, 1)
    status = world.machines.stop(spec.id, force=True)
    assert (status.power, status.off_reason) == (Power.OFF, OffReason.ASKED)
    assert world.machines.stop(spec.id).off_reason is OffReason.ASKED
    assert world.machines.start(spec, 1).power is Power.OFF
    status = world.machines.start(spec, 2)
    assert (status.power, status.start_count, status.off_reason) == (Power.RUNNING, 2, OffReason.NONE)


def test_removing_leaves_nothing_and_may_be_repeated(world):
    spec = world.spec()
    world.machines.start(spec, 1)
    world.machines.remove(spec.id)
    assert world.machines.status(spec.id) is None
    assert not world.machines.present()
    assert not world.leaks()
    world.machines.remove(spec.id)
    with pytest.raises(MachineAbsentError):
        world.machines.stop(spec.id)


def test_a_killed_process_is_reported_as_a_crash(world):
    spec = world.spec()
    world.machines.start(spec, 1)
    world.heard.clear()
    before = int(time.time())
    os.kill(world.process_of(spec.id), signal.SIGKILL)
    wait_for(lambda: spec.id in world.heard, "the end was reported")
    world.wait_for_power(spec.id, Power.OFF)
    after = int(time.time())
    ended = world.machines.status(spec.id)
    assert ended.off_reason is OffReason.CRASHED
    assert before <= ended.off_since <= after
    wait_for(lambda: str(ended.off_since) in written(world, spec.id), "it is written down, in the background")
    world.connect()
    assert world.machines.status(spec.id).off_since == ended.off_since
    assert world.machines.start(spec, 1).power is Power.OFF
    assert world.machines.start(spec, 2).power is Power.RUNNING


def written(world, machine_id):
    """What libvirt keeps of a machine."""
    with contextlib.closing(libvirt.open(world.daemon.uri)) as live:
        return live.lookupByName(machine_id).XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)


def test_a_failed_start_has_not_happened(world):
    spec = world.spec()
    spec.disks[0].source.path.rename(world.root / "away")
    with pytest.raises(MachineError, match=r"disks/vol-"):
        world.machines.start(spec, 1)
    (world.root / "away").rename(spec.disks[0].source.path)
    spec.disks[0].source.path.write_bytes(b"no qcow2")
    with pytest.raises(MachineError):
        world.machines.start(spec, 1)
    assert world.machines.status(spec.id).start_count == 0
    world.connect()
    assert world.machines.status(spec.id).start_count == 0


def test_a_new_agent_process_learns_what_there_is(world):
    running, stopped, crashed = world.spec(), world.spec(), world.spec()
    world.machines.start(stopped, 3)
    world.machines.stop(stopped.id, force=True)
    world.machines.start(crashed, 4)
    process = world.process_of(crashed.id)
    wait_for((world.root / "awake").exists, "an agent said that it watches")
    world.machines.close()
    os.utime(world.root / "awake", (1_700_000_000, 1_700_000_000))
    os.kill(process, signal.SIGKILL)
    noted = world.daemon.root / "run" / "qemu" / f"{crashed.id}.xml"
    wait_for(lambda: not noted.exists(), "libvirt knows of the end, which no agent sees")
    world.machines = None
    world.connect()
    world.machines.start(running, 5, reboot_count=1)
    process = world.process_of(running.id)
    world.connect()
    found = {id_: world.machines.status(id_) for id_ in world.machines.present()}
    assert found.keys() == {running.id, stopped.id, crashed.id}
    reported = {id_: (status.power, status.start_count, status.off_reason) for id_, status in found.items()}
    assert reported == {
        running.id: (Power.RUNNING, 5, OffReason.NONE),
        stopped.id: (Power.OFF, 3, OffReason.ASKED),
        crashed.id: (Power.OFF, 4, OffReason.CRASHED),
    }
    assert found[running.id].reboot_count == 1
    assert found[crashed.id].off_since == 1_700_000_000, "nobody watched since then"
    assert world.process_of(running.id) == process


def test_an_agent_that_died_between_definition_and_start_starts_again(world, monkeypatch):
    spec = world.spec()
    world.machines.start(spec, 1)
    world.machines.stop(spec.id, force=True)

    def die(*_arguments, **_options):
        raise KeyboardInterrupt

    monkeypatch.setattr(world.machines, "_create", die)
    with pytest.raises(KeyboardInterrupt):
        world.machines.start(spec, 2)
    world.connect()
    status = world.machines.status(spec.id)
    assert (status.power, status.start_count, status.off_reason) == (Power.OFF, 1, OffReason.ASKED)
    assert world.machines.start(spec, 2).power is Power.RUNNING


def test_a_guest_that_lost_its_host_may_be_started_again(world, monkeypatch, tmp_path):
    spec = world.spec()
    world.machines.start(spec, 1)
    process = world.process_of(spec.id)
    wait_for((world.root / "awake").exists, "an agent said that it watches")
    world.machines.close()
    world.machines = None
    os.utime(world.root / "awake", (1_700_000_000, 1_700_000_000))
    world.daemon.kill()
    os.kill(process, signal.SIGKILL)
    wait_for(lambda: not Path(f"/proc/{process}").exists(), "the guest is dead")
    (world.daemon.root / "run" / "qemu" / f"{spec.id}.xml").unlink()  # as after a reboot: /run is empty
    shutil.rmtree(world.daemon.root / "run" / "qemu" / "channel")
    world.daemon.revive()
    (tmp_path / "boot_id").write_text("another boot")
    monkeypatch.setattr(libvirt_machines, "_BOOT_ID", tmp_path / "boot_id")  # before anybody looks at what is there
    world.connect()
    status = world.machines.status(spec.id)
    assert (status.power, status.start_count, status.off_reason) == (Power.OFF, 1, OffReason.HOST)
    before = int(time.time())
    status = world.machines.start(spec, 1)
    assert (status.power, status.start_count) == (Power.RUNNING, 1)
    assert (status.lost_since, before <= status.lost_until <= time.time()) == (1_700_000_000, True)
    world.machines.stop(spec.id, force=True)
    assert world.machines.start(spec, 1).off_reason is OffReason.ASKED


def test_domains_of_others_are_left_alone(world):
    spec = world.spec()
    world.machines.start(spec, 1)
    live = libvirt.open(world.daemon.uri)
    foreign = live.defineXML(
        "<domain type='qemu'><name>i-0fffffffffffffff0</name><memory>9999</memory><os><type>hvm</type></os></domain>"
    )
    try:
        assert world.machines.present() == {spec.id}
        with pytest.raises(MachineError, match="not ours"):
            world.machines.remove("i-0fffffffffffffff0")
        with pytest.raises(MachineError, match="not ours"):
            world.machines.start(world.spec(id="i-0fffffffffffffff0"), 1)
    finally:
        foreign.undefine()
        live.close()


def test_the_tap_is_an_isolated_port_with_the_mtu(world):
    spec = world.spec(nics=2)
    world.machines.start(spec, 1)
    with IPRoute() as ip:
        for nic in spec.nics:
            link = ip.link("get", ifname=nic.tap)[0]
            assert link.get_attr("IFLA_MTU") == nic.mtu
            assert link.get_attr("IFLA_MASTER") == ip.link_lookup(ifname=nic.bridge)[0]
    for nic in spec.nics:
        assert Path(f"/sys/class/net/{nic.tap}/brport/isolated").read_text().strip() == "1"


def test_disks_and_nics_are_plugged_in_and_out(world):
    spec = world.spec()
    world.machines.start(spec, 1)
    more = replace(
        spec, disks=(*spec.disks, replace(world.disk(), iops=500, throughput=10 << 20)), nics=(*spec.nics, world.nic())
    )
    world.machines.update(more)
    live = libvirt.open(world.daemon.uri)
    shown = live.lookupByName(spec.id).XMLDesc()
    assert more.disks[1].id.replace("-", "") in shown
    assert more.nics[1].mac_address in shown
    assert "<total_iops_sec>500</total_iops_sec>" in shown
    world.machines.update(replace(more, disks=(spec.disks[0], replace(more.disks[1], iops=900))))
    shown = live.lookupByName(spec.id).XMLDesc()
    assert "<total_iops_sec>900</total_iops_sec>" in shown
    live.close()
    world.machines.resize_disk(spec.id, spec.disks[0].id, 128 << 20)
    with pytest.raises(MachineError, match="vol-00000000000000000"):
        world.machines.resize_disk(spec.id, "vol-00000000000000000", 128 << 20)


def test_the_screen_comes_as_png(world):
    spec = world.spec()
    world.machines.start(spec, 1)
    assert world.machines.screenshot(spec.id).startswith(b"\x89PNG\r\n\x1a\n")


def test_guests_are_users_of_their_own_without_rights(world):
    first, second = world.spec(), world.spec()
    world.machines.start(first, 1)
    world.machines.stop(first.id, force=True)
    world.machines.start(second, 1)
    status = dict(
        line.split(":\t", 1)
        for line in Path(f"/proc/{world.process_of(second.id)}/status").read_text().splitlines()
        if ":\t" in line
    )
    uid = int(status["Uid"].split()[0])
    assert uid >= 0x70000000
    assert (status["CapEff"], status["NoNewPrivs"], status["Seccomp"]) == ("0" * 16, "1", "2")
    assert second.disks[0].source.path.stat().st_uid == uid
    assert first.disks[0].source.path.stat().st_uid != uid
    assert first.disks[0].source.path.stat().st_mode & 0o777 == 0o600


def test_starts_at_once_do_not_hinder_each_other(world):
    specs = [world.spec() for _ in range(3)]
    threads = [threading.Thread(target=world.machines.start, args=(spec, 1)) for spec in specs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert world.machines.present() == {spec.id for spec in specs}
    assert all(world.machines.status(spec.id).power is Power.RUNNING for spec in specs)


def test_a_guest_that_does_not_listen_is_stopped_after_some_time(world):
    world.patience = Patience(stop=1, reboot=1, press_again=1)
    world.connect()
    spec = world.spec()
    world.machines.start(spec, 1)
    assert world.machines.stop(spec.id).power is Power.STOPPING
    world.wait_for_power(spec.id, Power.OFF)
    assert world.machines.status(spec.id).off_reason is OffReason.ASKED


def test_a_stop_that_is_hastened_ends_sooner_and_is_not_put_off_by_others(world):
    world.patience = Patience(stop=600, hastened_stop=1)
    world.connect()
    spec = world.spec()
    world.machines.start(spec, 1)
    assert world.machines.stop(spec.id).power is Power.STOPPING

    def is_off():
        world.machines.stop(spec.id)
        return world.machines.stop(spec.id, hasten=True).power is Power.OFF

    wait_for(is_off, "it is powered off")
    assert world.machines.status(spec.id).off_reason is OffReason.ASKED
    assert Patience(stop=5).until_off(hasten=True) == 5


def test_a_stop_goes_on_after_the_agent_died(world):
    world.patience = Patience(stop=2, press_again=1)
    world.connect()
    spec = world.spec()
    world.machines.start(spec, 1)
    world.machines.stop(spec.id)
    world.connect()
    assert world.machines.status(spec.id).power is Power.STOPPING
    world.wait_for_power(spec.id, Power.OFF)
    assert world.machines.status(spec.id).off_reason is OffReason.ASKED


def test_a_guest_that_does_not_listen_is_reset_after_some_time(world):
    world.patience = Patience(reboot=1)
    world.connect()
    spec = world.spec()
    world.machines.start(spec, 1)
    process = world.process_of(spec.id)
    began = time.monotonic()
    assert world.machines.reboot(spec.id, 1).reboot_count == 0
    wait_for(lambda: world.machines.status(spec.id).reboot_count == 1, "the reboot is counted")
    assert time.monotonic() - began >= 1
    assert world.process_of(spec.id) == process
    assert world.machines.reboot(spec.id, 1).reboot_count == 1
