"""A burstable machine's credits are counted while it is there, and the controller hears of them."""

import pytest

from stead_agent.agent import list_present
from stead_agent.credits.interface import Balance, Terms
from stead_agent.machines.interface import MachineError
from stead_agent.reconcile import translate
from stead_agent.wanted import Key
from stead_proto.v1 import desired_pb2 as pb
from stead_proto.v1 import host_pb2
from tests.support import desired_states as make
from tests.support.simulated_agent import Bench

CREDITS = pb.CpuCredits(per_hour=6_000, most=144_000, at_start=30_000, saved_seconds=60, saved=5)
MACHINE = Key(pb.KIND_MACHINE, "i-1")


@pytest.fixture
def sender() -> make.Sender:
    return make.Sender()


def _machine(credits_: pb.CpuCredits | None = CREDITS, **changes: object) -> pb.Resource:
    words = {"volumes": ("vol-1",), "interfaces": ("eni-1",)} | changes
    made = make.machine("i-1", **words)  # type: ignore[arg-type]  # any of its words
    made.machine.ClearField("cpu_credits")
    if credits_ is not None:
        made.machine.cpu_credits.CopyFrom(credits_)
    return made


def _begin(sender: make.Sender) -> Bench:
    bench = Bench()
    bench.tell(sender.change(make.host_network(), *make.launch(), full=True))
    bench.settle(sender.change(_machine()))
    return bench


def _shown(bench: Bench) -> tuple[int, int] | None:
    machine = bench.machine("i-1")
    return (machine.cpu_credits.credits, machine.cpu_credits.spent) if machine.HasField("cpu_credits") else None


def test_its_terms_are_those_of_the_controller() -> None:
    terms = Terms(vcpus=1, per_hour=6_000, most=144_000, at_start=30_000, saved_seconds=60, saved=5)
    assert translate.credit_terms(_machine()) == terms
    unlimited = _machine(pb.CpuCredits(unlimited=True))
    unlimited.machine.vcpus = 4
    assert translate.credit_terms(unlimited) == Terms(vcpus=4, per_hour=0, most=0, unlimited=True)
    assert translate.credit_terms(_machine(None)) is None


def test_a_renewed_balance_is_reported(sender: make.Sender) -> None:
    bench = _begin(sender)
    assert _shown(bench) == (30_005, 0)
    bench.host.credits.set_balance("i-1", Balance(1, 2, 3, 4))
    bench.work()
    assert bench.machine("i-1").cpu_credits == host_pb2.CpuCreditBalance(credits=1, surplus=2, spent=3, charged=4)


def test_new_terms_hold_while_it_runs(sender: make.Sender) -> None:
    bench = _begin(sender)
    bench.settle(sender.change(_machine(pb.CpuCredits(unlimited=True))))
    assert bench.host.world.objects.credits["i-1"].terms.unlimited
    assert bench.host.world.objects.starts["i-1", 1] == 1


def test_it_rests_while_it_is_off(sender: make.Sender) -> None:
    bench = _begin(sender)
    bench.host.credits.set_balance("i-1", Balance(spent=5))
    bench.settle(sender.change(_machine(power=pb.POWER_STOPPED)))
    assert bench.host.world.objects.credits["i-1"].start_count == 0
    assert _shown(bench) == (0, 5)
    bench.settle(sender.change(_machine(start_count=2)))
    assert _shown(bench) == (30_000, 5)


def test_a_host_that_went_down_continues_its_start(sender: make.Sender) -> None:
    bench = _begin(sender)
    bench.host.credits.set_balance("i-1", Balance(credits=7_000))
    bench.reboot()
    bench.host.world.fail_next("machines.start", MachineError("not yet"))
    bench.work()
    bench.reconciler.notice_machine("i-1")  # it is looked at while it is off
    bench.work()
    assert bench.host.running() == set()
    bench.settle()
    assert bench.host.running() == {"i-1"}
    assert _shown(bench) == (7_000, 0)


@pytest.fixture
def replacing(sender: make.Sender) -> Bench:
    """A machine in its second start, which is off for another root volume and cannot be started yet."""
    bench = _begin(sender)
    bench.settle(sender.change(_machine(start_count=2)))
    bench.host.credits.set_balance("i-1", Balance(credits=7_000, surplus=3))
    bench.host.world.fail_next("machines.start", MachineError("not yet"), times=5)
    bench.settle(sender.change(make.volume("vol-2"), _another_root()), seconds=1)
    assert bench.host.running() == set()
    return bench


def _another_root(power: "pb.Power.ValueType" = pb.POWER_RUNNING) -> pb.Resource:
    return _machine(start_count=3, volumes=("vol-2",), stores_since=2, power=power)


def test_a_machine_whose_root_volume_is_replaced_keeps_its_credits(replacing: Bench, sender: make.Sender) -> None:
    """Until it ends; the next start is one of which it is given some."""
    assert replacing.host.credits.balance("i-1") == Balance(credits=7_000, surplus=3)
    replacing.settle()
    machine = replacing.machine("i-1")
    assert (machine.start_count, machine.cpu_credits) == (3, host_pb2.CpuCreditBalance(credits=7_000, surplus=3))
    replacing.host.power_off_guest("i-1")
    replacing.settle()
    assert replacing.machine("i-1").cpu_credits == host_pb2.CpuCreditBalance(credits=7_000, charged=3)
    replacing.settle(sender.change(_machine(start_count=4, volumes=("vol-2",))))
    assert _shown(replacing) == (37_000, 0)


def test_a_stop_while_its_root_volume_is_replaced_is_a_stop(replacing: Bench, sender: make.Sender) -> None:
    replacing.settle(sender.change(_another_root(pb.POWER_STOPPED)))
    assert replacing.machine("i-1").cpu_credits == host_pb2.CpuCreditBalance(credits=7_000, charged=3)


def test_a_machine_that_cannot_be_started_rests(sender: make.Sender) -> None:
    bench = _begin(sender)
    bench.host.world.fail_next("machines.start", MachineError("not yet"), times=5)
    bench.settle(sender.change(_machine(start_count=2)), seconds=1)
    assert (bench.host.running(), bench.host.credits.balance("i-1")) == (set(), None)


def test_a_machine_that_is_not_burstable_has_none(sender: make.Sender) -> None:
    bench = _begin(sender)
    bench.settle(sender.change(_machine(None)))
    assert _shown(bench) is None
    assert bench.host.credits.present() == frozenset()


def test_nothing_is_left_of_a_machine_that_is_gone(sender: make.Sender) -> None:
    bench = _begin(sender)
    bench.settle(sender.change(gone=(MACHINE,)))
    assert bench.host.credits.present() == frozenset()


def test_what_a_machine_owed_is_its_last_word_however_often_it_is_said(sender: make.Sender) -> None:
    bench = _begin(sender)
    bench.host.credits.set_balance("i-1", Balance(surplus=5, charged=7))
    for _ in range(2):
        bench.settle(sender.change(gone=(MACHINE,)))
        last = bench.reconciler.reports.latest(MACHINE)
        assert last is not None
        assert (last.condition, last.machine.cpu_credits.charged) == (host_pb2.CONDITION_ABSENT, 12)


def test_a_machine_that_owed_nothing_is_gone_without_a_word(sender: make.Sender) -> None:
    bench = _begin(sender)
    bench.settle(sender.change(gone=(MACHINE,)))
    last = bench.reconciler.reports.latest(MACHINE)
    assert last is not None
    assert not last.HasField("machine")


def test_an_account_without_a_machine_is_a_stray(sender: make.Sender) -> None:
    bench = _begin(sender)
    bench.host.credits.watch("i-2", Terms(vcpus=1, per_hour=1, most=1), 1)
    assert Key(pb.KIND_MACHINE, "i-2") in set(list_present(bench.host.subsystems))
    bench.sweep()
    assert bench.host.credits.present() == {"i-1"}
