"""What a UEFI guest stores beside its disks is reported when a start has ended, and laid before one on another host."""

import pytest

from stead_agent.desired import without_key
from stead_agent.machines.interface import FirmwareState, OffReason
from stead_agent.wanted import Key
from stead_proto.v1 import desired_pb2 as pb
from stead_proto.v1 import host_pb2
from tests.support import desired_states as make
from tests.support.simulated_agent import Bench, Killed

MACHINE = Key(pb.KIND_MACHINE, "i-1")
TPM = pb.Tpm(encryption_key=bytes(32))


def machine(start_count: int = 1, *, tpm: bool = False, kept: int = 0, came: str = "", **words: object) -> pb.Resource:
    """A machine of UEFI; `came` are the starts of which another host has stored something."""
    wanted = make.machine("i-1", volumes=("vol-1",), interfaces=("eni-1",), start_count=start_count, **words)  # type: ignore[arg-type]  # any of its words
    wanted.machine.boot_mode, wanted.machine.firmware_kept = "uefi", kept
    if tpm:
        wanted.machine.tpm.CopyFrom(TPM)
    if came:
        content = came.encode()
        last = int(came.rsplit(maxsplit=1)[-1])
        wanted.machine.firmware.CopyFrom(
            pb.FirmwareState(start_count=last, variables=content, tpm=content if tpm else b"")
        )
    return wanted


def off(start_count: int = 1, **words: object) -> pb.Resource:
    return machine(start_count, power=pb.POWER_STOPPED, **words)  # type: ignore[arg-type]  # any of its words


@pytest.fixture
def sender() -> make.Sender:
    return make.Sender()


def new_host(sender: make.Sender, wanted: pb.Resource) -> Bench:
    bench = Bench()
    bench.settle(sender.change(make.host_network(), *make.launch(), wanted, full=True))
    return bench


def reported(bench: Bench) -> pb.FirmwareState | None:
    seen = bench.machine("i-1")
    return seen.firmware if seen.HasField("firmware") else None


def stored(bench: Bench) -> bytes:
    return bench.host.world.objects.firmware["i-1"].variables


@pytest.mark.parametrize("tpm", [False, True])
def test_what_it_stored_is_reported_when_it_is_off_until_the_controller_has_it(sender: make.Sender, tpm: bool) -> None:
    bench = new_host(sender, machine(tpm=tpm))
    assert reported(bench) is None
    bench.settle(sender.change(off(tpm=tpm)))
    content = b"1 "
    assert reported(bench) == pb.FirmwareState(start_count=1, variables=content, tpm=content if tpm else b"")
    bench.settle(sender.change(off(tpm=tpm, kept=1)))
    assert bench.machine("i-1").power == host_pb2.MACHINE_POWER_OFF
    assert reported(bench) is None
    bench.settle(sender.change(machine(2, tpm=tpm, kept=1)))
    bench.settle(sender.change(off(2, tpm=tpm, kept=1)))
    assert reported(bench) == pb.FirmwareState(start_count=2, variables=b"1 2 ", tpm=b"1 2 " if tpm else b"")


def test_a_guest_that_went_off_by_itself_has_stored_it_too(sender: make.Sender) -> None:
    bench = new_host(sender, machine())
    bench.host.machines.end_guest("i-1", OffReason.GUEST)
    bench.settle()
    assert reported(bench) == pb.FirmwareState(start_count=1, variables=b"1 ")


def test_guests_of_other_firmware_have_none(sender: make.Sender) -> None:
    wanted = make.machine("i-1", volumes=("vol-1",), interfaces=("eni-1",))
    bench = new_host(sender, wanted)
    wanted.machine.power = pb.POWER_STOPPED
    bench.host.world.objects.firmware["i-1"] = FirmwareState(b"1 ")
    bench.settle(sender.change(wanted))
    assert reported(bench) is None


def test_one_of_which_the_host_has_not_all_is_not_reported(sender: make.Sender) -> None:
    bench = new_host(sender, machine())
    bench.settle(sender.change(off(tpm=True)))  # it has no TPM here
    assert reported(bench) is None


def test_a_start_that_goes_on_after_the_host_is_back_has_not_ended(sender: make.Sender) -> None:
    bench = new_host(sender, machine())
    bench.host.fail_next("dhcp.apply", RuntimeError("not yet"), times=1)
    bench.reboot()
    bench.work()
    assert bench.machine("i-1").power == host_pb2.MACHINE_POWER_OFF
    assert reported(bench) is None
    bench.settle(sender.change(off()))  # now it is over
    assert reported(bench) == pb.FirmwareState(start_count=1, variables=b"1 ")


def test_another_host_lays_it_before_the_guest_starts_there(sender: make.Sender) -> None:
    bench = new_host(sender, off(2, tpm=True, kept=2, came="1 2 "))
    assert ("firmware.lay", "i-1") not in bench.calls
    bench.settle(sender.change(machine(3, tpm=True, kept=2, came="1 2 ")))
    assert (stored(bench), bench.host.violations) == (b"1 2 3 ", [])
    bench.settle(sender.change(off(3, tpm=True, kept=2, came="1 2 ")))
    assert reported(bench) == pb.FirmwareState(start_count=3, variables=b"1 2 3 ", tpm=b"1 2 3 ")


def test_a_host_that_had_the_guest_before_gets_the_newer(sender: make.Sender) -> None:
    bench = new_host(sender, machine())
    bench.settle(sender.change(off(kept=1)))
    bench.settle(sender.change(machine(4, kept=3, came="1 2 3 ")))
    assert stored(bench) == b"1 2 3 4 "


@pytest.mark.parametrize("anew", ["agent", "host"])
def test_what_came_from_elsewhere_never_replaces_what_the_guest_has_stored_here(sender: make.Sender, anew: str) -> None:
    wanted = machine(3, kept=2, came="1 2 ")
    bench = new_host(sender, wanted)
    bench.calls.clear()
    bench.restart() if anew == "agent" else bench.reboot()
    bench.settle(sender.full())
    assert ("firmware.lay", "i-1") not in bench.calls
    assert stored(bench) == (b"1 2 3 " if anew == "agent" else b"1 2 3 3 ")


def test_it_is_removed_with_the_machine(sender: make.Sender) -> None:
    bench = new_host(sender, machine())
    bench.settle(sender.change(gone=(MACHINE,)))
    assert bench.host.world.objects.firmware == {}


def test_what_was_laid_for_a_start_that_never_was_is_removed_too(sender: make.Sender) -> None:
    bench = Bench()
    bench.host.fail_next("machines.start", RuntimeError("no"), times=1)
    bench.tell(sender.change(make.host_network(), *make.launch(), machine(2, kept=1, came="1 "), full=True))
    bench.work()
    assert stored(bench) == b"1 "
    bench.settle(sender.change(gone=(MACHINE,)))
    assert bench.host.world.objects.firmware == {}


def test_the_key_of_a_tpm_and_what_it_stored_are_not_remembered_of_a_removed_machine() -> None:
    bare = without_key(machine(2, tpm=True, kept=1, came="1 ")).machine
    assert (bare.HasField("tpm"), bare.HasField("firmware"), bare.boot_mode) == (False, False, "uefi")


def test_killed_at_each_step_of_the_start_it_begins_with_what_it_had_stored(sender: make.Sender) -> None:
    step = 0
    while True:
        sender = make.Sender()
        bench = Bench()
        bench.settle(
            sender.change(make.host_network(), *make.launch(), off(2, tpm=True, kept=2, came="1 2 "), full=True)
        )
        bench.die_at(step)
        try:
            bench.settle(sender.change(machine(3, tpm=True, kept=2, came="1 2 ")))
        except Killed:
            bench.restart()
            bench.settle(sender.full())
        else:
            break
        assert (stored(bench), bench.host.violations) == (b"1 2 3 ", [])
        step += 1
    assert step >= 6
