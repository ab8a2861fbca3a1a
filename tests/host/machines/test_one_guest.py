"""What one guest sees of its machine and of what is done to it: threads of its cores, a key, an interrupt."""

from collections.abc import Iterator
from functools import partial

import pytest

from stead_agent.machines.interface import MachineError, MachineSpec
from tests.support import micro
from tests.support.serial_shell import SerialShell, with_shell

from .conftest import Daemon, World, new_world, wait_for

pytestmark = pytest.mark.guest


@pytest.fixture(scope="module")
def one_world(daemon: Daemon, bridge: str) -> Iterator[World]:
    with new_world(daemon, bridge) as made:
        yield made


@pytest.fixture(scope="module")
def spec(one_world: World) -> MachineSpec:
    image = with_shell(micro.build(), one_world.root / "disks" / "shell.raw")
    image.chmod(0o444)
    return one_world.spec(disks=(one_world.disk(base=image, base_format="raw"),), vcpus=4, threads_per_core=2)


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
