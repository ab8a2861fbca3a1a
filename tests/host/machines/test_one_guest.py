"""What one guest sees of its machine and of what is done to it: threads of its cores, interrupts, hibernation; then it ends."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from stead_agent.machines.interface import MachineError, MachineSpec, OffReason, Power
from stead_agent.metrics.interface import Reading
from tests.support import micro
from tests.support.serial_shell import SerialShell, with_shell

from .conftest import Daemon, World, new_world, wait_for

pytestmark = pytest.mark.guest
KEY = bytes(range(32))
MARK = "this-is-what-the-guest-has-in-its-memory"


@pytest.fixture(scope="module")
def one_world(daemon: Daemon, bridge: str) -> Iterator[World]:
    with new_world(daemon, bridge) as made:
        yield made


@pytest.fixture(scope="module")
def spec(one_world: World) -> MachineSpec:
    image = with_shell(micro.build(), one_world.root / "disks" / "shell.raw")
    image.chmod(0o444)
    return one_world.spec(disks=(one_world.encrypted_disk(KEY, image),), vcpus=4, threads_per_core=2)


@pytest.fixture(scope="module")
def shell(one_world: World, spec: MachineSpec) -> Iterator[SerialShell]:
    """A shell in the guest of `spec`, which has booted."""
    check = partial(one_world.check, spec.id)
    made = one_world.boot(spec, lambda: SerialShell(one_world.machines, spec.id, check))
    yield made
    made.close()


def interrupts(shell: SerialShell, name: str) -> int:
    """How many interrupts of a name in /proc/interrupts all processors of the guest have had."""
    line = shell.run(f"grep -w {name} /proc/interrupts").split()
    return sum(int(word) for word in line if word.isdigit())


def test_a_guest_sees_the_threads_of_its_cores(shell: SerialShell) -> None:
    siblings = shell.run("cat /sys/devices/system/cpu/cpu[0-9]/topology/thread_siblings_list").split()
    assert siblings == ["0-1", "0-1", "2-3", "2-3"]


def test_without_kvm_it_has_all_that_its_host_keeps_for_translated_code(one_world: World, spec: MachineSpec) -> None:
    pid = int((one_world.daemon.root / "run" / "qemu" / f"{spec.id}.pid").read_text())
    words = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    assert "tb-size=79" in words[words.index("-accel") + 1].split(",")  # where nothing is kept for it, 32


def test_a_key_is_pressed_only_to_wake_it(one_world: World, spec: MachineSpec, shell: SerialShell) -> None:
    before = interrupts(shell, "i8042")
    assert one_world.machines.screenshot(spec.id).startswith(b"\x89PNG\r\n\x1a\n")
    assert interrupts(shell, "i8042") == before
    assert one_world.machines.screenshot(spec.id, wake_up=True).startswith(b"\x89PNG\r\n\x1a\n")
    wait_for(lambda: interrupts(shell, "i8042") > before, "the guest has seen the key", 60)


def test_a_diagnostic_interrupt_comes_as_an_nmi(one_world: World, spec: MachineSpec, shell: SerialShell) -> None:
    before = interrupts(shell, "NMI:")
    one_world.machines.interrupt(spec.id)
    assert interrupts(shell, "NMI:") > before
    with pytest.raises(MachineError):
        one_world.machines.interrupt("i-0123456789abcdef0")


def test_its_counters_are_read(one_world: World, spec: MachineSpec, shell: SerialShell) -> None:
    [volume_id] = [disk.id for disk in spec.disks]
    counters = one_world.machines.counters
    wanted = (spec.id, "i-0123456789abcdef0")

    def read() -> Reading:
        """Read all counters; those of devices are left out while the guest's health is looked at."""
        seen = counters.read(wanted)
        wait_for(lambda: seen[spec.id].devices or seen.update(counters.read(wanted)), "libvirt is not busy with it")
        assert seen.keys() == {spec.id}
        return seen[spec.id]

    one = read()
    shell.run("dd if=/dev/zero of=/some bs=1M count=4 && sync && rm /some")
    other = read()
    assert one.devices is not None
    assert other.devices is not None
    assert (one.process, one.began) == (other.process, other.began)
    assert one.began < one.at < other.at
    assert 0 < one.cpu_time < other.cpu_time <= spec.vcpus * (other.at - one.began)
    assert other.devices.volumes.keys() == {volume_id}
    grown = other.devices.volumes[volume_id]
    was = one.devices.volumes[volume_id]
    assert grown.written_bytes - was.written_bytes >= 4 << 20
    assert grown.writes > was.writes > 0
    assert grown.write_time > was.write_time
    assert was.read_bytes > 1 << 20
    assert other.devices.stores == {}
    assert len(other.devices.nics) == len(spec.nics)


def test_a_hibernated_guest_goes_on_with_the_same_processes(
    one_world: World, spec: MachineSpec, shell: SerialShell
) -> None:
    machines = one_world.machines
    seen = machines.status(spec.id)
    assert seen is not None
    shell.run("sleep 1000000 & echo")
    process = shell.run("pidof sleep")
    boot = shell.run("cat /proc/sys/kernel/random/boot_id")
    shell.run(f"word=$(printf %s {MARK[:12]} {MARK[12:]})")
    said = shell.heard()
    status = machines.hibernate(spec.id, KEY)
    assert (status.power, status.off_reason, status.hibernated) == (Power.OFF, OffReason.ASKED, True)
    memory = one_world.root / "memories" / f"{spec.id}.qcow2"
    saved = memory.read_bytes()
    assert len(saved) > 16 << 20
    assert saved.startswith(b"LUKS")
    assert MARK.encode() not in saved
    assert b"BusyBox" not in saved
    assert memory.stat().st_mode & 0o777 == 0o600

    one_world.connect()
    assert one_world.machines.status(spec.id) == status
    number = seen.start_count + 1
    status = one_world.machines.start(spec, number)
    assert (status.power, status.start_count, status.hibernated) == (Power.RUNNING, number, False)
    assert not memory.exists()
    assert one_world.machines.console_output(spec.id, 1 << 20).startswith(said)
    woken = SerialShell(one_world.machines, spec.id, partial(one_world.check, spec.id), resumed=True)
    assert woken.run("pidof sleep") == process
    assert woken.run("cat /proc/sys/kernel/random/boot_id") == boot
    assert woken.run("echo $word") == MARK
    assert woken.run("echo said >/var/tmp/word && sync && cat /var/tmp/word") == "said"
    woken.close()


def test_it_powers_itself_off_and_a_restarted_agent_knows(
    one_world: World, spec: MachineSpec, shell: SerialShell
) -> None:
    seen = one_world.machines.status(spec.id)
    assert seen is not None
    ending = SerialShell(one_world.machines, spec.id, partial(one_world.check, spec.id), resumed=True)
    ending.begin("poweroff")
    one_world.wait_for_power(spec.id, Power.OFF, 60)
    ending.close()
    number = seen.start_count
    assert _how_it_ended(one_world, spec) == (Power.OFF, number, OffReason.GUEST)
    assert one_world.machines.start(spec, number).power is Power.OFF
    one_world.connect()
    assert _how_it_ended(one_world, spec) == (Power.OFF, number, OffReason.GUEST)


def _how_it_ended(world: World, spec: MachineSpec) -> tuple[Power, int, OffReason | None]:
    status = world.machines.status(spec.id)
    assert status is not None
    return status.power, status.start_count, status.off_reason
