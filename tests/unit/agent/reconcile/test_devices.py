"""PCI devices of the host: a guest has them from its start to its end, however that comes."""

import pytest

from stead_agent.pci.interface import PciError
from stead_agent.wanted import Key
from stead_proto.v1 import desired_pb2 as pb
from stead_proto.v1 import host_pb2
from tests.support import desired_states as make
from tests.support.simulated_agent import Bench, Killed

MACHINE = Key(pb.KIND_MACHINE, "i-1")
GPU, SOUND = "0000:01:00.0", "0000:01:00.1"
HELD = {GPU: "i-1", SOUND: "i-1"}


@pytest.fixture
def sender() -> make.Sender:
    return make.Sender()


@pytest.fixture
def bench(sender: make.Sender) -> Bench:
    """A host with one running machine, i-1, that has two devices."""
    bench = Bench()
    bench.settle(sender.change(make.host_network(), *make.launch(), full=True))
    bench.settle(sender.change(machine(power=pb.POWER_STOPPED)))
    bench.settle(sender.change(machine(start_count=2)))
    return bench


def machine(devices: tuple[str, ...] = (SOUND, GPU), **changes: object) -> pb.Resource:
    made = make.machine("i-1", volumes=("vol-1",), interfaces=("eni-1",), **changes)  # type: ignore[arg-type]  # any of its words
    made.machine.devices.extend(devices)
    return made


def test_a_guest_is_started_with_its_devices(bench: Bench) -> None:
    assert bench.host.world.objects.guests["i-1"].spec.devices == (GPU, SOUND)
    assert bench.host.world.objects.devices == HELD
    assert bench.host.violations == []


def stopped(bench: Bench, sender: make.Sender) -> None:
    bench.settle(sender.change(machine(start_count=2, power=pb.POWER_STOPPED)))


def terminated(bench: Bench, sender: make.Sender) -> None:
    bench.settle(sender.change(gone=(MACHINE,)))


def crashed(bench: Bench, _sender: make.Sender) -> None:
    bench.host.crash_guest("i-1")
    bench.settle()


def powered_off(bench: Bench, _sender: make.Sender) -> None:
    bench.host.power_off_guest("i-1")
    bench.settle()


@pytest.mark.parametrize("end", [stopped, terminated, crashed, powered_off])
def test_devices_go_back_when_the_guest_has_ended(bench: Bench, sender: make.Sender, end) -> None:  # type: ignore[no-untyped-def]  # one of the above
    end(bench, sender)
    assert bench.host.world.objects.devices == {}
    assert bench.host.violations == []


def test_the_end_is_reported_only_when_the_devices_are_back(bench: Bench, sender: make.Sender) -> None:
    bench.host.fail_next("pci.release", PciError("0000:01:00.0 could not be reset"))
    bench.settle(sender.change(machine(start_count=2, power=pb.POWER_STOPPED)), seconds=0)
    assert bench.host.world.objects.devices == HELD
    reported = bench.report()[MACHINE]
    assert (reported.condition, reported.error) == (host_pb2.CONDITION_FAILED, "0000:01:00.0 could not be reset")
    bench.settle()
    assert bench.host.world.objects.devices == {}
    assert bench.report()[MACHINE].machine.power == host_pb2.MACHINE_POWER_OFF


def test_a_guest_that_goes_on_after_a_reboot_of_its_host_has_its_devices_again(bench: Bench) -> None:
    bench.reboot()
    bench.settle()
    assert bench.host.running() == {"i-1"}
    assert bench.host.world.objects.devices == HELD


def test_a_guest_stopped_during_a_reboot_of_its_host_has_none(bench: Bench, sender: make.Sender) -> None:
    bench.reboot()
    bench.settle(sender.change(machine(start_count=2, power=pb.POWER_STOPPED)))
    assert bench.host.world.objects.devices == {}


def test_a_start_without_the_devices_fails_and_is_tried_again(bench: Bench, sender: make.Sender) -> None:
    bench.host.world.objects.devices["0000:02:00.0"] = "i-2"
    stopped(bench, sender)
    bench.settle(sender.change(machine(("0000:02:00.0",), start_count=3)), seconds=0)
    assert bench.report()[MACHINE].error == "i-2 still has the device 0000:02:00.0"
    assert bench.host.running() == set()
    del bench.host.world.objects.devices["0000:02:00.0"]
    bench.settle()
    assert bench.host.running() == {"i-1"}


@pytest.mark.parametrize("step", range(6))
@pytest.mark.parametrize("then", ["continues", "is terminated"])
def test_an_agent_killed_during_a_start_leaves_no_device_behind(bench: Bench, sender: make.Sender, step, then) -> None:  # type: ignore[no-untyped-def]  # numbers and words
    stopped(bench, sender)
    bench.die_at(step)
    with pytest.raises(Killed):
        bench.settle(sender.change(machine(start_count=3)))
    bench.restart()
    if then == "continues":
        bench.settle(sender.full())
        assert (bench.host.running(), bench.host.world.objects.devices) == ({"i-1"}, HELD)
    terminated(bench, sender)
    assert bench.host.world.objects.devices == {}
    assert bench.host.violations == []
