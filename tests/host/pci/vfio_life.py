"""What is true of VFIO, tried in a guest that has an IOMMU; `vfio_guest.py` boots it and reads the results.

Each function is one trial, in this order and over the same devices; a result is a line of JSON. What uses a device here is
a QEMU whose processor is stopped, as a guest's user, driven by its qtest protocol (https://www.qemu.org/docs/master/devel/testing/
qtest.html): it programs the device as a guest's driver would.
"""

import contextlib
import json
import os
import re
import socket
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from stead_agent import doctor
from stead_agent.disks.disk_files import write_disk
from stead_agent.disks.disk_sources import FileSource
from stead_agent.disks.disk_users import uid_of
from stead_agent.disks.qcow2 import render_empty
from stead_agent.machines.daemon_dirs import DaemonDirs
from stead_agent.machines.interface import Disk, MachineSpec, Power
from stead_agent.machines.libvirt_machines import LibvirtMachines
from stead_agent.pci import inventory
from stead_agent.pci.assignments import Assignments
from stead_agent.pci.interface import PciError
from tests.support import private_libvirtd
from tests.support.waiting import wait_for

ONE, TWO = "i-0123456789abcdef0", "i-0123456789abcdef1"
NIC, EDU = "8086:10d3", "1234:11e8"
STATE = Path("/run/stead-vfio")
_SLOT = 5
_BAR = 0xE0000000
_RECEIVE_ADDRESS = 0x5400  # of the network card: RAL0
_RECEIVE_CONTROL = 0x100  # of the network card: RCTL
_DMA_BUFFER = 0x40000  # of the edu device; https://www.qemu.org/docs/master/specs/edu.html
TRIALS: list[Callable[[], None]] = []


def trial(function: Callable[[], None]) -> Callable[[], None]:
    TRIALS.append(function)
    return function


def agent() -> Assignments:
    """A new agent's view of the same devices."""
    return Assignments([NIC, EDU], STATE / "devices")


def device(model: str) -> inventory.PciDevice:
    (found,) = [found for found in inventory.read() if found.model == model]
    return found


class Guest:
    """A QEMU of a guest's user that has a device; its processor is stopped, a test makes its accesses."""

    def __init__(self, connection: socket.socket) -> None:
        self._file = connection.makefile("rw")

    def ask(self, command: str) -> int:
        """Send a command and return the number that is answered, 0 for none."""
        self._file.write(f"{command}\n")
        self._file.flush()
        while (line := self._file.readline()).startswith("IRQ"):
            pass
        assert line.startswith("OK"), (command, line)
        return int(line.removeprefix("OK").strip() or "0", 16)

    def config(self, offset: int, value: int | None = None) -> int:
        """Read or write the device's PCI configuration."""
        self.ask(f"outl 0xcf8 {0x80000000 | _SLOT << 11 | offset:#x}")
        return self.ask("inl 0xcfc" if value is None else f"outl 0xcfc {value:#x}")

    def switch_on(self) -> None:
        """Map the device's registers and let it access memory, as a driver does."""
        self.config(0x10, _BAR)
        self.config(0x04, 0x6)

    def register(self, offset: int, value: int | None = None) -> int:
        if value is None:
            return self.ask(f"readl {_BAR + offset:#x}")
        return self.ask(f"writel {_BAR + offset:#x} {value:#x}")


def qemu(address: str, machine_id: str, *options: str) -> list[str]:
    """The command that runs a QEMU with the device as a machine's user."""
    uid = str(uid_of(machine_id))
    return [
        *("prlimit", "--memlock=unlimited", "setpriv", "--reuid", uid, "--regid", uid, "--clear-groups"),
        *("qemu-system-x86_64", "-M", "pc", "-m", "64M", "-accel", "tcg", "-S", "-nodefaults", "-display", "none"),
        *("-device", f"vfio-pci,host={address},addr={_SLOT:#x}", *options),
    ]


@contextlib.contextmanager
def guest(address: str, machine_id: str) -> Iterator[Guest]:
    ours, theirs = socket.socketpair()
    options = ("-chardev", f"socket,id=test,fd={theirs.fileno()}", "-qtest", "chardev:test", "-qtest-log", "none")
    with ours, theirs:
        process = subprocess.Popen(
            qemu(address, machine_id, *options), pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL
        )
        theirs.close()
        try:
            yield Guest(ours)
        finally:
            process.kill()
            process.wait()


@trial
def the_inventory_has_what_the_kernel_shows() -> None:
    nic, edu = device(NIC), device(EDU)
    assert (nic.driver, edu.driver) == ("e1000e", ""), (nic, edu)
    assert nic.iommu_group != edu.iommu_group
    assert None not in (nic.iommu_group, edu.iommu_group)
    assert nic.reset, nic
    assert edu.reset, edu
    print(nic, edu)


@trial
def the_doctor_is_content() -> None:
    found = list(doctor.device_checks([NIC, EDU]))
    assert {check.status for check in found} == {"ok"}, found
    assert len(found) == 4, found


@trial
def a_device_of_the_host_is_bound_for_the_guest_alone() -> None:
    nic = device(NIC)
    agent().assign(ONE, [nic.address])
    assert device(NIC).driver == "vfio-pci"
    node = Path(f"/dev/vfio/{nic.iommu_group}").stat()
    assert (node.st_uid, node.st_mode & 0o777) == (uid_of(ONE), 0o600)


@trial
def its_user_opens_it_and_its_registers_answer() -> None:
    with guest(device(NIC).address, ONE) as one:
        assert one.config(0) == 0x10D38086
        one.switch_on()
        one.register(_RECEIVE_ADDRESS, 0x12345678)
        one.register(_RECEIVE_CONTROL, 0x8000)
        assert (one.register(_RECEIVE_ADDRESS), one.register(_RECEIVE_CONTROL)) == (0x12345678, 0x8000)


@trial
def another_user_cannot_open_it_and_another_machine_cannot_be_given_it() -> None:
    address = device(NIC).address
    done = subprocess.run(qemu(address, TWO), check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode != 0
    assert "Permission denied" in done.stderr, done.stderr
    with pytest.raises(PciError, match=f"{ONE} still has"):
        agent().assign(TWO, [address])


@trial
def two_guests_cannot_have_it_at_once() -> None:
    address = device(NIC).address
    with guest(address, ONE) as one:
        one.config(0)
        done = subprocess.run(qemu(address, ONE), check=False, capture_output=True, text=True, timeout=60)
        assert done.returncode != 0
        assert "busy" in done.stderr, done.stderr


@trial
def nothing_that_one_guest_wrote_is_there_for_the_next() -> None:
    address = device(NIC).address
    agent().release(ONE)
    agent().assign(TWO, [address])
    with guest(address, TWO) as two:
        two.switch_on()
        assert two.register(_RECEIVE_ADDRESS) != 0x12345678
        assert two.register(_RECEIVE_CONTROL) == 0


@trial
def it_goes_back_to_the_driver_of_the_host() -> None:
    assert agent().holders() == {TWO}
    agent().release(TWO)
    nic = device(NIC)
    assert nic.driver == "e1000e"
    folder = inventory.SYSFS / "bus/pci/devices" / nic.address
    assert (folder / "driver_override").read_text().strip() in {"", "(null)"}
    assert any((folder / "net").iterdir())
    assert not Path(f"/dev/vfio/{nic.iommu_group}").exists()
    assert agent().holders() == frozenset()


@trial
def a_device_reads_and_writes_the_memory_of_its_guest_through_the_iommu() -> None:
    edu = device(EDU)
    agent().assign(ONE, [edu.address])
    with guest(edu.address, ONE) as one:
        one.switch_on()
        one.ask("writel 0x100000 0xc0ffee42")
        for source, target, command in ((0x100000, _DMA_BUFFER, 1), (_DMA_BUFFER, 0x200000, 3)):
            for register, value in ((0x80, source), (0x88, target), (0x90, 4), (0x98, command)):
                one.register(register, value)
            wait_for(lambda: not one.register(0x98) & 1, "the device has copied", 60)
        assert one.ask("readl 0x200000") == 0xC0FFEE42
    agent().release(ONE)
    assert device(EDU).driver == ""


@trial
def a_guest_of_libvirt_has_it_and_it_comes_back_when_that_guest_is_killed() -> None:
    nic = device(NIC)
    root = STATE / "agent"
    daemon = private_libvirtd.ensure_running(STATE / "libvirt")
    (root / "disks").mkdir(mode=0o711, parents=True)
    disk = root / "disks" / "vol-0123456789abcdef0.qcow2"
    disk.touch()
    write_disk(disk, render_empty(64 << 20, "", "raw"))
    disks = (Disk("vol-0123456789abcdef0", FileSource(disk), "qcow2"),)
    spec = MachineSpec(ONE, vcpus=1, memory=96 << 20, disks=disks, nics=(), devices=(nic.address,))
    dirs = DaemonDirs(STATE / "libvirt/run/qemu", STATE / "libvirt/lib/qemu")
    machines = LibvirtMachines(daemon.uri, root, owner=str(root), virtualization="qemu", dirs=dirs)
    try:
        agent().assign(ONE, spec.devices)
        assert machines.start(spec, 1).power is Power.RUNNING
        pid = int((dirs.runtime / f"{ONE}.pid").read_text())
        groups = [str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir() if link.is_symlink()]
        assert f"/dev/vfio/{nic.iommu_group}" in groups, groups
        os.kill(pid, 9)
        wait_for(lambda: (found := machines.status(ONE)) and found.power is Power.OFF, "its end is seen", 60)
        agent().release(ONE)
        assert device(NIC).driver == "e1000e"
        machines.remove(ONE)
    finally:
        machines.close()
        private_libvirtd.stop(STATE / "libvirt")


def main() -> int:
    """Run the trials, all or those named; return 1 if one failed."""
    named = sys.argv[1:]
    STATE.mkdir(mode=0o711, exist_ok=True)
    Path("/dev/pts").mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "devpts", "devpts", "/dev/pts"], check=True)
    for module in ("e1000e", "vfio-pci"):
        subprocess.run(["modprobe", module], check=True)
    worst = 0
    for one in TRIALS:
        if named and not any(re.search(pattern, one.__name__) for pattern in named):
            continue
        try:
            one()
        except Exception:  # whatever it is, it is the trial's result, and the others go on
            worst = 1
            print("result", json.dumps([one.__name__, traceback.format_exc()]), flush=True)
        else:
            print("result", json.dumps([one.__name__, "ok"]), flush=True)
    return worst


if __name__ == "__main__":
    sys.exit(main())
