"""Where systemd is PID 1: `up` makes units; the cloud outlives kills and restarts, and a power cut, without any help."""

import json
import sys
from collections.abc import Iterator

import pytest

from tests.support import booted
from tests.support.booted import CannotBootError, Machine
from tests.support.processes import BIN
from tests.support.waiting import wait_for

BACKUP = ("stead-backup.service", "stead-backup.timer")
UNITS = ("stead-controller.service", "stead-agent.service")
# `stead demo` with a guest of one processor: emulated, it boots in two thirds of the time that one of two takes.
DEMO = """
from stead_cli import __main__, demo
demo.CHOICES["micro"] = demo.Choice("stead.small", 120)
__main__.main()
"""
_EXPLAINING = "/var/lib/stead/agent/consoles/*/*.log /var/log/libvirt/qemu/*.log /var/lib/stead/log/*.log"


@pytest.fixture
def machine() -> Iterator[Machine]:
    """A machine that systemd has booted for the first time."""
    try:
        with booted.machine() as made:
            made.boot()
            yield made
    except CannotBootError as reason:
        pytest.skip(str(reason))


@pytest.mark.timeout(900)  # it boots a machine twice and a guest twice, by emulation, beside other tests
def test_a_cloud_comes_back_by_itself(machine: Machine) -> None:
    stead = str(BIN / "stead")
    launched = json.loads(machine.must(sys.executable, "-c", DEMO, "demo", "--output", "json", timeout=400))
    login = ["ssh", "-o", "BatchMode=yes", "-o", "ConnectTimeout=20", *launched["ssh"][1:]]
    assert _states(machine) == ["active"] * 2
    assert machine.must("systemctl", "is-enabled", *UNITS).split() == ["enabled"] * 2
    first_boot = machine.must(*login, "cat /proc/sys/kernel/random/boot_id")

    lasting = _lasting_processes(machine)
    assert len(lasting) == 3
    controller = _main_process(machine, UNITS[0])
    machine.must("pkill", "-KILL", "--parent", controller)
    wait_for(lambda: machine.run(stead, "status").returncode == 0, "another process serves", 120, poll=2)
    assert _main_process(machine, UNITS[0]) == controller, "systemd had nothing to do"
    _another_takes_its_place(machine)
    _parents_are_replaced(machine)

    machine.must("systemctl", "restart", "stead-agent")
    restarts = [_shown(machine, unit, "NRestarts") for unit in UNITS]
    machine.must("systemctl", "kill", "--signal=KILL", UNITS[0])  # all its processes at once
    machine.must("kill", "-KILL", _main_process(machine, UNITS[1]))
    wait_for(lambda: machine.run(stead, "status").returncode == 0, "both are back", 120, poll=2)
    assert [int(_shown(machine, unit, "NRestarts")) for unit in UNITS] == [int(number) + 1 for number in restarts]
    _parents_are_replaced(machine)  # also those that systemd has started again
    assert _lasting_processes(machine) == lasting
    # A guest's power cut costs it what it had not written to its disk, such as its host keys.
    assert machine.must(*login, "sync; cat /proc/sys/kernel/random/boot_id") == first_boot

    machine.power_cut()
    machine.boot()
    wait_for(
        lambda: machine.run(*login, "true").returncode == 0,
        "the guest answers again",
        240,
        poll=0.5,
        explain=lambda: machine.run("sh", "-c", f"tail -n 30 {_EXPLAINING}").stdout,
    )
    assert machine.must(*login, "cat /proc/sys/kernel/random/boot_id") != first_boot
    wait_for(lambda: machine.run(stead, "status").returncode == 0, "the host is seen", 120, poll=2)
    assert _states(machine) == ["active"] * 2

    machine.must("sh", "-c", "umask 077; echo correct horse > /etc/stead-passphrase")
    machine.must(
        stead, "backup", "schedule", "/var/backups/stead", "--passphrase-file", "/etc/stead-passphrase", "--keep", "2"
    )
    assert machine.must("systemctl", "is-active", *BACKUP[1:]).strip() == "active"
    for _ in range(2):  # as the timer does; of three backups two stay
        machine.must("sh", "-c", f"systemctl start {BACKUP[0]} || (journalctl -u {BACKUP[0]} >&2; false)")
    assert len(json.loads(machine.must(stead, "backup", "list", "/var/backups/stead", "--output", "json"))) == 2
    assert json.loads(machine.must(stead, "backup", "schedule"))["next"]

    machine.must(stead, "down", "--purge", "--yes")
    assert _states(machine) == ["inactive"] * 2
    assert machine.run("ls", *(f"/etc/systemd/system/{unit}" for unit in (*UNITS, *BACKUP))).returncode != 0
    assert _lasting_processes(machine) == []


def _another_takes_its_place(machine: Machine) -> None:
    """Reload the controller's unit: another process is its main one, systemd's child, and the unit never stopped."""
    unit, stead = UNITS[0], str(BIN / "stead")
    former, since = _main_process(machine, unit), _shown(machine, unit, "ActiveEnterTimestampMonotonic")
    machine.must("systemctl", "reload", unit)
    later = _main_process(machine, unit)
    assert later != former
    assert machine.must("ps", "-o", "ppid=", "-p", later).strip() == "1"
    wait_for(lambda: machine.run(stead, "status").returncode == 0, "the other one serves", 120, poll=2)
    assert _main_process(machine, unit) == later
    assert machine.run("ps", "-p", former).returncode != 0
    assert _shown(machine, unit, "ActiveEnterTimestampMonotonic") == since
    assert "not our child" not in machine.must("journalctl", "--unit", unit)


def _parents_are_replaced(machine: Machine) -> None:
    """Kill the controller's main process twice: its stand-by takes its place, also for systemd, which stops it at the end."""
    unit, stead = UNITS[0], str(BIN / "stead")
    restarts, parents = _shown(machine, unit, "NRestarts"), [_main_process(machine, unit)]
    for _ in range(2):
        heir = machine.must("cat", f"/run/{unit.removesuffix('.service')}/successor").strip()
        assert heir not in parents
        machine.must("kill", "-KILL", parents[-1])
        parents.append(heir)
        wait_for(lambda: _main_process(machine, unit) == parents[-1], "systemd knows the new parent", 60)
        wait_for(lambda: machine.run(stead, "status").returncode == 0, "another process serves", 120, poll=2)
        assert _main_process(machine, unit) == parents[-1]
    assert _shown(machine, unit, "NRestarts") == restarts, "systemd had nothing to do"
    assert _states(machine) == ["active"] * 2


def _main_process(machine: Machine, unit: str) -> str:
    return _shown(machine, unit, "MainPID")


def _shown(machine: Machine, unit: str, what: str) -> str:
    return machine.must("systemctl", "show", f"--property={what}", "--value", unit).strip()


def _states(machine: Machine) -> list[str]:
    return machine.run("systemctl", "is-active", *UNITS).stdout.split()


def _lasting_processes(machine: Machine) -> list[str]:
    """Guests, DHCP and metadata servers, by process id and name."""
    lines = machine.must("ps", "ax", "-o", "pid=,args=").splitlines()
    names = ("qemu-system", "dnsmasq --conf-file", "-m stead_agent.metadata")
    return sorted(line.split()[0] + name for line in lines for name in names if name in line)
