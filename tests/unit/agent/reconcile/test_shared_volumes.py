"""Volumes across hosts as the reconciler sees them: never used here while another host may, and brought before a guest."""

import pytest

from stead_agent.disks.exports.interface import ExportError, HomeAwayError
from stead_agent.simulated.machines import Durations
from stead_agent.wanted import Key
from stead_proto.v1 import desired_pb2 as pb
from stead_proto.v1 import host_pb2
from tests.support import desired_states as make
from tests.support.simulated_agent import Bench

VOLUME = Key(pb.KIND_VOLUME, "vol-2")
MACHINE = Key(pb.KIND_MACHINE, "i-1")
READY, PENDING = host_pb2.CONDITION_READY, host_pb2.CONDITION_PENDING
FAILED, ABSENT = host_pb2.CONDITION_FAILED, host_pb2.CONDITION_ABSENT
SIZE = 1 << 30


@pytest.fixture
def sender() -> make.Sender:
    return make.Sender()


@pytest.fixture
def bench(sender: make.Sender) -> Bench:
    """A host with one running machine, i-1, and a volume of its own, vol-2, that nobody has."""
    bench = Bench()
    bench.settle(
        sender.change(make.host_network(), *make.launch(), make.volume("vol-2", base_id="", size=SIZE), full=True)
    )
    return bench


def _served(generation: int = 1, size: int = SIZE) -> pb.Resource:
    resource = make.volume("vol-2", base_id="", size=size)
    resource.volume.export.CopyFrom(
        pb.VolumeExport(client_host_id="host-2", port=61000, generation=generation)
    )  # fmt: skip
    return resource


def _brought(generation: int = 1, size: int = SIZE) -> pb.Resource:
    remote = pb.RemoteVolume(home_host_id="host-2", address="192.0.2.2", port=61000, generation=generation)
    return pb.Resource(id="vol-2", volume=pb.Volume(size=size, remote=remote))


def _machine(*volumes: str) -> pb.Resource:
    return make.machine("i-1", volumes=volumes, interfaces=("eni-1",))


def _reported_size(bench: Bench) -> int:
    return bench.report()[VOLUME].volume.size


def test_a_volume_is_served_once_no_guest_of_the_host_has_it(bench: Bench, sender: make.Sender) -> None:
    bench.settle(sender.change(_machine("vol-1", "vol-2")))
    assert bench.machine("i-1").volume_ids == ["vol-1", "vol-2"]
    bench.settle(sender.change(_served(), _machine("vol-1")))
    assert bench.machine("i-1").volume_ids == ["vol-1"]
    assert bench.report()[VOLUME].condition == READY
    assert bench.host.world.objects.exports["vol-2"].client_host_id == "host-2"
    again = _served()
    again.volume.export.client_enrolment = "0123456789abcdef"
    for former in (None, ""):
        if former is not None:
            again.volume.export.client_former_enrolment = former
        bench.settle(sender.change(again))
        export = bench.host.world.objects.exports["vol-2"]
        assert (export.client_enrolment, export.client_former_enrolment) == ("0123456789abcdef", former)
    bench.settle(sender.change(make.volume("vol-2", base_id="", size=SIZE), _machine("vol-1", "vol-2")))
    assert bench.host.world.objects.exports == {}
    assert bench.machine("i-1").volume_ids == ["vol-1", "vol-2"]
    assert bench.host.violations == []


def test_a_volume_is_served_once_its_snapshots_are_read_or_after_two_minutes(sender: make.Sender) -> None:
    bench = Bench(durations=Durations(snapshot=1000))
    bench.settle(sender.change(make.host_network(), make.volume("vol-2", base_id="", size=SIZE), full=True))
    bench.tell(sender.change(pb.Resource(id="snap-1", snapshot=pb.Snapshot(volume_id="vol-2"))))
    bench.work()
    bench.settle(sender.change(_served()), seconds=100)
    word = bench.report()[VOLUME]
    assert (word.condition, word.error) == (PENDING, "waiting until the snapshot of vol-2 is read")
    bench.settle(sender.change(make.volume("vol-2", base_id="", size=SIZE)), seconds=1)
    bench.settle(sender.change(_served()), seconds=95)
    assert bench.host.world.objects.exports == {}, "each time that it is to be served has its own two minutes"
    bench.settle(seconds=30)
    assert bench.report()[VOLUME].condition == READY
    assert bench.host.world.objects.exports["vol-2"].client_host_id == "host-2"
    assert bench.host.violations == []

    bench.settle(sender.change(make.volume("vol-2", base_id="", size=SIZE)))
    bench.tell(sender.change(pb.Resource(id="snap-2", snapshot=pb.Snapshot(volume_id="vol-2"))))
    bench.work()
    bench.settle(sender.change(_served()), seconds=110)
    assert bench.host.world.objects.exports == {}
    bench.host.world.objects.snapshots["snap-2"].begun -= 1000
    bench.settle(seconds=1)
    assert bench.report()[VOLUME].condition == READY


def test_another_generation_is_served_anew(bench: Bench, sender: make.Sender) -> None:
    bench.settle(sender.change(_served()))
    bench.settle(sender.change(_served(2)))
    assert bench.host.world.objects.exports["vol-2"].generation == 2
    assert bench.report()[VOLUME].condition == READY


def test_a_served_volume_grows_while_it_is_served(bench: Bench, sender: make.Sender) -> None:
    bench.settle(sender.change(_served()))
    bench.host.fail_next("exports.grow", ExportError("requests in flight do not end"))
    bench.settle(sender.change(_served(size=2 * SIZE)))
    assert (bench.report()[VOLUME].condition, _reported_size(bench)) == (READY, 2 * SIZE)
    assert bench.calls.count(("exports.grow", "vol-2")) == 2
    bench.settle(sender.change(_served(2, size=3 * SIZE)))
    assert _reported_size(bench) == 3 * SIZE
    assert bench.calls.count(("exports.grow", "vol-2")) == 2, "for another attachment it grows on file"
    assert bench.host.violations == []


def test_the_certificate_by_which_it_is_served_stays_until_the_controller_names_it(
    bench: Bench, sender: make.Sender
) -> None:
    """After the controller was lost, the host that uses it may have joined the other one later, or not yet."""

    def confirmed_by() -> tuple[bytes, bool]:
        bench.reconciler.notice_volume("vol-2")
        bench.settle()
        export = bench.host.world.objects.exports["vol-2"]
        return export.confirmed_by, export.by_former

    bench.settle(sender.change(_served()))
    assert confirmed_by() == (b"", True), "no controller has answered this agent"
    assert bench.reconciler.known_by == b""
    bench.reconciler.controller_answered(b"lost")
    assert confirmed_by() == (b"lost", False)
    assert bench.reconciler.known_by == b"lost"
    recovered = make.Sender("epoch-2")
    recovered.revision = 1000
    bench.settle(recovered.change(make.host_network(), full=True))
    bench.reconciler.controller_answered(b"new")
    assert confirmed_by() == (b"", True), "it is unclaimed"
    assert bench.reconciler.known_by == b""
    bench.settle(recovered.change(_served()))
    adopted = bench.host.world.objects.exports["vol-2"]
    assert (adopted.confirmed_by, adopted.by_former) == (b"new", False), "at once, when it is adopted"


def test_to_a_host_that_has_not_joined_it_is_served_by_the_certificate_that_this_one_knows(
    bench: Bench, sender: make.Sender
) -> None:
    """After a restore from before a change of authorities the controller knows the volume, and no host trusts it."""
    bench.settle(sender.change(_served()))

    def served() -> tuple[bytes, bool]:
        bench.settle()
        export = bench.host.world.objects.exports["vol-2"]
        return export.confirmed_by, export.by_former

    assert served() == (b"", True), "it is not known yet who has joined"
    bench.reconciler.await_hosts(["host-2", "host-3"])
    bench.reconciler.controller_answered(b"new")
    assert served() == (b"", True)
    assert bench.reconciler.known_by == b""
    bench.reconciler.await_hosts(["host-3"])
    assert served() == (b"new", False), "at once, when its user has joined"
    assert bench.reconciler.known_by == b"", "another one has not"
    bench.reconciler.await_hosts([])
    assert bench.reconciler.known_by == b"new"
    bench.reconciler.await_hosts(["host-2"])
    bench.settle(sender.change(make.volume("vol-2", base_id="", size=SIZE)))
    assert bench.host.world.objects.exports == {}


def test_a_proxy_with_a_former_certificate_is_replaced_soon(
    bench: Bench, sender: make.Sender, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its home may have a new one at any moment, and then the guest waits."""
    outdated = {"vol-2"}
    monkeypatch.setattr(bench.host.subsystems.exports, "is_outdated", lambda each: each in outdated)
    bench.settle(sender.change(_brought(), _machine("vol-1", "vol-2")), seconds=5)
    assert bench.report()[VOLUME].condition == READY
    tries = bench.calls.count(("exports.connect", "vol-2"))
    assert 4 <= tries <= 8
    outdated.clear()
    bench.settle(seconds=5)
    assert bench.calls.count(("exports.connect", "vol-2")) <= tries + 1


def test_a_guest_sees_a_volume_of_another_host_grow(sender: make.Sender) -> None:
    bench = Bench()
    bench.settle(
        sender.change(make.host_network(), *make.launch(), _brought(), _machine("vol-1", "vol-2"), full=True)
    )  # fmt: skip
    bench.host.fail_next("exports.connect", HomeAwayError("its home has not grown it yet"))
    bench.tell(sender.change(_brought(size=2 * SIZE)))
    bench.work()
    assert bench.report()[VOLUME].condition == PENDING
    assert ("machines.resize_disk", "i-1") not in bench.calls
    bench.settle()
    assert (bench.report()[VOLUME].condition, _reported_size(bench)) == (READY, 2 * SIZE)
    assert ("machines.resize_disk", "i-1") in bench.calls
    assert bench.host.violations == []


def test_a_guest_that_waits_for_space_on_another_host_is_reported(sender: make.Sender) -> None:
    """Its home sees only writes that fail: that a guest stands still for them its own host knows."""
    bench = Bench()
    bench.settle(
        sender.change(make.host_network(), *make.launch(), _brought(), _machine("vol-1", "vol-2"), full=True)
    )  # fmt: skip
    assert not bench.report()[VOLUME].volume.full
    bench.host.fill_volume("i-1", "vol-2", full=True)
    bench.settle(seconds=12)
    assert bench.report()[VOLUME].volume.full
    bench.host.fill_volume("i-1", "vol-2", full=False)
    bench.settle(seconds=7)
    assert not bench.report()[VOLUME].volume.full
    assert bench.host.violations == []


def test_requests_that_are_not_done_are_reported_also_while_the_home_is_away(sender: make.Sender) -> None:
    bench = Bench()
    bench.settle(
        sender.change(make.host_network(), *make.launch(), _brought(), _machine("vol-1", "vol-2"), full=True)
    )  # fmt: skip
    away = HomeAwayError("nobody is there")
    bench.host.fail_next("exports.connect", away, times=3)
    bench.host.stall_volume("i-1", "vol-2", stalled=True)
    bench.settle(seconds=0)
    reported = bench.report()[VOLUME]
    assert (reported.condition, reported.volume.stalled) == (host_pb2.CONDITION_PENDING, True)
    bench.settle(seconds=5)
    reported = bench.report()[VOLUME]
    assert (reported.condition, reported.volume.stalled) == (host_pb2.CONDITION_READY, True)
    bench.host.stall_volume("i-1", "vol-2", stalled=False)
    bench.settle(seconds=5)
    assert not bench.report()[VOLUME].volume.stalled


def test_a_guest_gets_a_volume_of_another_host(sender: make.Sender) -> None:
    bench = Bench()
    bench.settle(sender.change(make.host_network(), *make.launch(), full=True))
    bench.host.fail_next("exports.connect", HomeAwayError("nobody listens"))
    bench.tell(sender.change(_brought(), _machine("vol-1", "vol-2")))
    bench.work()
    reported = bench.report()
    assert (reported[VOLUME].condition, reported[VOLUME].error) == (PENDING, "nobody listens")
    assert bench.machine("i-1").volume_ids == ["vol-1"]
    bench.settle()
    assert bench.report()[VOLUME].condition == READY
    assert bench.machine("i-1").volume_ids == ["vol-1", "vol-2"]
    bench.restart()
    bench.settle()
    assert bench.machine("i-1").volume_ids == ["vol-1", "vol-2"]
    bench.settle(sender.change(_machine("vol-1"), gone=(VOLUME,)))
    assert bench.report()[VOLUME].condition == ABSENT
    assert bench.host.world.objects.remotes == {}
    assert bench.host.violations == []


def test_after_a_reboot_of_the_host_its_guests_have_their_remote_volumes_again(sender: make.Sender) -> None:
    bench = Bench()
    bench.settle(
        sender.change(make.host_network(), *make.launch(), _brought(), _machine("vol-1", "vol-2"), full=True)
    )  # fmt: skip
    bench.reboot()
    bench.settle()
    assert bench.machine("i-1").volume_ids == ["vol-1", "vol-2"]
    assert bench.host.violations == []


def test_remains_of_an_undesired_volume_are_removed(bench: Bench, sender: make.Sender) -> None:
    bench.settle(sender.change(_served()))
    bench.settle(sender.change(gone=(VOLUME,)))
    assert bench.report()[VOLUME].condition == ABSENT
    assert "exports" not in bench.host.remains()
    bench.settle(sender.change(_brought()))
    bench.host.fail_next("exports.end", ExportError("it cannot be killed"))
    bench.settle(sender.change(gone=(VOLUME,)))
    assert bench.report()[VOLUME].condition == ABSENT
    assert "exports" not in bench.host.remains()


def test_a_guest_reaches_the_homes_of_volumes_that_stay_attached(sender: make.Sender) -> None:
    bench = Bench()
    bench.settle(
        sender.change(make.host_network(), *make.launch(), _brought(), _machine("vol-1", "vol-2"), full=True)
    )  # fmt: skip
    homes = bench.host.world.objects.homes
    assert [(each.volume_id, each.generation, each.address) for each in homes["i-1"]] == [("vol-2", 1, "192.0.2.2")]
    bench.settle(sender.change(_brought(2)))
    assert [each.generation for each in homes["i-1"]] == [2]
    bench.host.machines.keep_disks("i-1", keeps=True)
    bench.settle(sender.change(_machine("vol-1")), seconds=5)
    assert homes["i-1"] == (), "it is asked to release it"
    assert bench.host.violations == []


def test_a_guest_that_is_to_stop_is_sent_to_no_home(sender: make.Sender) -> None:
    """It would be asked where its disks are in the moment in which it ends, and its lock would be held meanwhile."""
    bench = Bench()
    bench.settle(sender.change(make.host_network(), *make.launch(), _brought(), _machine("vol-1", "vol-2"), full=True))
    homes = bench.host.world.objects.homes
    assert homes.pop("i-1")
    bench.host.hang_guest("i-1")
    stopped = _machine("vol-1", "vol-2")
    stopped.machine.power = pb.POWER_STOPPED
    bench.settle(sender.change(stopped), seconds=10)
    assert bench.machine("i-1").power == host_pb2.MACHINE_POWER_STOPPING
    assert "i-1" not in homes


def test_a_guest_that_does_not_release_a_remote_volume_by_force_gets_errors(sender: make.Sender) -> None:
    """Its requests may wait for a home that serves somebody else now: it cannot release the volume before they fail."""
    bench = Bench()
    bench.settle(
        sender.change(make.host_network(), *make.launch(), _brought(), _machine("vol-1", "vol-2"), full=True)
    )  # fmt: skip
    bench.host.machines.keep_disks("i-1", keeps=True)
    bench.settle(sender.change(_machine("vol-1"), gone=(VOLUME,)), seconds=60)
    assert bench.host.world.objects.refused == [], "without force it may keep what it has not yet written down"
    bench.settle(sender.change(gone=(VOLUME,), force=True), seconds=10)
    assert bench.host.world.objects.refused == []
    bench.settle(seconds=30)
    assert "vol-2" in bench.host.world.objects.refused
    assert bench.host.world.objects.cut_off == [("i-1", "vol-2")], "past the proxy as well"
    bench.host.machines.keep_disks("i-1", keeps=False)
    bench.settle(seconds=300)
    assert bench.report()[VOLUME].condition == ABSENT
    assert bench.host.world.objects.remotes == {}
    assert bench.host.violations == []
