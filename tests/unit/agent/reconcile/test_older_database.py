"""What a host has and an older copy of the controller's database does not know: it stays until somebody decides."""

import pytest

from stead_agent.disks.volumes.interface import DiskLostError
from stead_agent.machines.interface import MachineError
from stead_agent.reconcile import translate_vpc
from stead_agent.reconcile.reports import Reports, status
from stead_agent.reconcile.unclaimed import what_it_has
from stead_agent.wanted import SHARED_KINDS, Change, Key, Wanted, key_of
from stead_proto import limits
from stead_proto.v1 import desired_pb2 as pb
from stead_proto.v1 import host_pb2
from tests.support import desired_states as make
from tests.support.simulated_agent import Bench


@pytest.fixture
def bench(sender: make.Sender) -> Bench:
    """A host with one running machine, i-1."""
    bench = Bench()
    bench.settle(sender.change(make.host_network(), *make.launch(), full=True))
    assert bench.host.running() == {"i-1"}
    return bench


@pytest.fixture
def sender() -> make.Sender:
    return make.Sender()


def _all_kept(bench: Bench) -> None:
    assert bench.host.violations == []
    assert all(count == 1 for count in bench.host.world.objects.starts.values()), bench.host.world.objects.starts


def test_what_an_older_database_does_not_know_stays_as_it_is(bench: Bench, sender: make.Sender) -> None:
    """Whether another epoch, a lower revision or the controller's own word says that it is older."""
    bench.settle(sender.change(*make.launch("2")))
    bench.calls.clear()
    older = make.Sender("epoch-2")
    bench.settle(older.change(make.host_network(), *make.launch("2"), full=True))
    assert bench.host.running() == {"i-1", "i-2"}
    assert bench.reconciler.wanted.revision == 1
    bench.reported.clear()
    bench.reconciler.reports.resend_all()
    reported = bench.report()
    assert {each.revision for each in reported.values()} <= {1, 2}
    unclaimed = {key.id for key, each in reported.items() if each.condition == host_pb2.CONDITION_UNCLAIMED}
    assert unclaimed == {"i-1", "vol-1", "eni-1"}
    assert bench.reconciler.reports.reached(1) == 1
    assert not [call for call in bench.calls if call[0] in {"machines.remove", "volumes.remove", "machines.stop"}]
    _all_kept(bench)
    # The next full state, of the same database, knows no more of them, and that is no word that they must go.
    bench.settle(older.full())
    assert bench.host.running() == {"i-1", "i-2"}
    # By decision they go, or are wanted again.
    bench.settle(older.change(make.volume("vol-1")))
    assert {key.id for key in bench.reconciler.wanted.unclaimed} == {"i-1", "eni-1"}
    bench.settle(older.change(gone=(Key(pb.KIND_MACHINE, "i-1"), Key(pb.KIND_INTERFACE, "eni-1"))))
    assert bench.host.running() == {"i-2"}
    assert bench.reconciler.wanted.unclaimed == frozenset()
    assert "vol-1" in bench.host.subsystems.volumes.present()
    # Now that all is claimed, what a full state leaves out is to go, as ever.
    older.resources.pop(Key(pb.KIND_VOLUME, "vol-1"))
    older.revision += 1
    bench.settle(older.full())
    assert "vol-1" not in bench.host.subsystems.volumes.present()


def test_a_removal_that_an_older_database_does_not_know_goes_on(bench: Bench, sender: make.Sender) -> None:
    bench.host.durations.shut_down = 30
    bench.tell(sender.change(gone=(Key(pb.KIND_MACHINE, "i-1"),)))
    bench.work()
    older = make.Sender("epoch-2")
    bench.settle(older.change(make.host_network(), full=True), seconds=90)
    assert bench.host.running() == set()
    assert {key.id for key in bench.reconciler.wanted.unclaimed} >= {"vol-1", "eni-1"}


def test_the_controllers_word_that_it_is_older_is_enough(bench: Bench, sender: make.Sender) -> None:
    """Its revisions may be higher by now than what this host reached in a life that is forgotten."""
    state = sender.change(*make.launch("2"), full=True)
    bench.settle(state)
    sender.resources = {key: each for key, each in sender.resources.items() if not each.id.endswith("-2")}
    sender.revision += 1000
    older = sender.full()
    older.older = True
    bench.settle(older)
    assert bench.host.running() == {"i-1", "i-2"}
    assert {key.id for key in bench.reconciler.wanted.unclaimed} == {"i-2", "vol-2", "eni-2"}


def test_of_what_is_unclaimed_addresses_and_room_are_reported(bench: Bench, sender: make.Sender) -> None:
    """That the controller gives them to nobody else; what is claimed or gone has none."""
    resources = {each.id: each for each in make.launch("2")}
    eni, machine = resources["eni-2"].interface, resources["i-2"].machine
    eni.secondary_addresses.append("10.1.0.77")
    eni.ipv6_addresses.append("fd00:1::5")
    eni.public_addresses.add(public_address="198.18.0.9", private_address=eni.private_address)
    machine.disks.add(device_name="/dev/sdz").instance_store.size = make.GIB
    resources["vol-2"].volume.pool = "fast"
    bench.settle(sender.change(*resources.values(), full=True))
    bench.settle(make.Sender("epoch-2").change(make.host_network(), *make.launch("1"), full=True))
    bench.reported.clear()
    bench.reconciler.reports.resend_all()
    reported = {key.id: each for key, each in bench.report().items()}
    kept = {key.id: each for key, each in bench.reconciler.wanted.resources.items()}
    for name in ("eni-2", "i-2", "vol-2"):
        assert reported[name].unclaimed.resource == kept[name]
        reported[name].unclaimed.ClearField("resource")
    assert [each.id for each in reported["eni-2"].unclaimed.security_groups] == list(eni.security_group_ids) != []
    reported["eni-2"].unclaimed.ClearField("security_groups")
    assert reported["eni-2"].unclaimed == host_pb2.Unclaimed(
        subnet_id="subnet-1",
        mac_address=eni.mac_address,
        private_addresses=["10.1.0.6", "10.1.0.77", "fd00:1::5"],
        public_addresses=["198.18.0.9"],
    )
    assert reported["i-2"].unclaimed == host_pb2.Unclaimed(vcpus=1, memory=make.GIB, disk=make.GIB)
    assert reported["vol-2"].unclaimed == host_pb2.Unclaimed(disk=make.GIB, pool="fast")
    assert {each.HasField("unclaimed") for name, each in reported.items() if not name.endswith("-2")} == {False}


def test_what_is_off_or_at_home_elsewhere_takes_no_room() -> None:
    wanted = Wanted()
    remote = make.volume("vol-1")
    remote.volume.remote.home_host_id = "h-2"
    off = make.machine("i-1", volumes=("vol-1",), interfaces=(), power=pb.POWER_STOPPED)
    keys = [Key(pb.KIND_VOLUME, "vol-1"), Key(pb.KIND_MACHINE, "i-1")]
    wanted.install(Change(1, "epoch-1", full=True, put=(remote, off), unclaimed=frozenset(keys)))
    assert [what_it_has(wanted, key) for key in keys] == [
        host_pb2.Unclaimed(resource=remote),
        host_pb2.Unclaimed(resource=off),
    ]


def test_interfaces_of_other_hosts_have_their_addresses() -> None:
    """Their hosts may come to a new controller later than this one, and nobody may be given them meanwhile."""
    wanted, key = Wanted(), Key(pb.KIND_MAPPING, "eni-9")
    elsewhere = make.mapping("eni-9", "10.1.0.9")
    elsewhere.mapping.addresses.append("fd00:1::9")
    elsewhere.mapping.subnet_id, elsewhere.mapping.mac_address = "subnet-1", "02:00:00:00:00:09"
    wanted.install(Change(1, "epoch-1", full=True, put=(elsewhere,), unclaimed=frozenset([key])))
    assert what_it_has(wanted, key) == host_pb2.Unclaimed(
        subnet_id="subnet-1", mac_address="02:00:00:00:00:09", private_addresses=["10.1.0.9", "fd00:1::9"]
    )


def test_an_instance_whose_disk_was_removed_is_said_to_be_off_and_its_volume_lost(
    bench: Bench, sender: make.Sender
) -> None:
    """It was terminated after the copy was made; that its host does not run it must show."""
    bench.settle(sender.change(gone=(Key(pb.KIND_MACHINE, "i-1"), Key(pb.KIND_VOLUME, "vol-1"))))
    bench.host.fail_next("volumes.ensure", DiskLostError("its disk was removed here"), times=1)
    older = make.Sender("epoch-2")
    bench.settle(older.change(make.host_network(), *make.launch(), full=True), seconds=0)
    reported = bench.report()
    volume, machine = reported[Key(pb.KIND_VOLUME, "vol-1")], reported[Key(pb.KIND_MACHINE, "i-1")]
    assert (volume.condition, volume.volume.lost) == (host_pb2.CONDITION_FAILED, True)
    assert (machine.condition, machine.machine.power) == (host_pb2.CONDITION_FAILED, host_pb2.MACHINE_POWER_OFF)
    bench.settle()  # its pool is there again
    volume = bench.report()[Key(pb.KIND_VOLUME, "vol-1")]
    assert (volume.condition, volume.volume.lost) == (host_pb2.CONDITION_READY, False)


def test_a_guest_that_does_not_start_after_its_host_was_down_is_said_to_be_off(bench: Bench) -> None:
    bench.reported.clear()
    bench.reboot()
    bench.host.fail_next("machines.start", MachineError("no memory"), times=1)
    bench.work()
    machine = bench.report()[Key(pb.KIND_MACHINE, "i-1")]
    assert machine.condition == host_pb2.CONDITION_FAILED
    assert (machine.machine.power, machine.machine.start_count) == (host_pb2.MACHINE_POWER_OFF, 1)


def _said(*resources: pb.Resource, about: Key) -> host_pb2.Unclaimed:
    wanted = Wanted()
    keys = frozenset(key for key in map(key_of, resources) if key is not None)
    wanted.install(Change(1, "epoch-1", full=True, put=resources, unclaimed=keys))
    said = what_it_has(wanted, about)
    assert said is not None
    return said


def test_no_key_and_no_credential_is_reported_only_what_the_controller_sealed() -> None:
    machine = make.machine("i-1", volumes=(), interfaces=())
    machine.machine.tpm.CopyFrom(pb.Tpm(encryption_key=b"SECRET", sealed_key=b"sealed"))
    words = machine.machine.metadata
    words.user_data = b"echo hello"
    words.identity.document = b"SECRET"
    words.identity_credentials.CopyFrom(pb.IdentityCredentials(updated=7, expires=8, secret_access_key="SECRET"))
    words.identity_credentials.access_key_id = words.identity_credentials.session_token = "SECRET"
    words.role.CopyFrom(pb.RoleCredentials(profile_arn="arn:1", access_key_id="SECRET", secret_access_key="SECRET"))
    words.role.session_token = words.role.without_token.secret_access_key = "SECRET"
    volume = make.volume("vol-1")
    volume.volume.encryption_key, volume.volume.sealed_key = b"SECRET", b"sealed"
    said = [_said(machine, volume, about=key) for key in (Key(pb.KIND_MACHINE, "i-1"), Key(pb.KIND_VOLUME, "vol-1"))]
    assert b"SECRET" not in b"".join(each.SerializeToString() for each in said)
    assert [said[0].resource.machine.tpm.sealed_key, said[1].resource.volume.sealed_key] == [b"sealed"] * 2
    assert said[0].resource.machine.metadata.user_data == b"echo hello"
    assert said[0].resource.machine.metadata.role == pb.RoleCredentials(profile_arn="arn:1")
    assert said[0].resource.machine.metadata.identity_credentials == pb.IdentityCredentials(updated=7)
    assert machine.machine.metadata.role.access_key_id == "SECRET", "what the host itself goes by is untouched"


def test_what_is_reported_of_one_resource_is_bounded() -> None:
    rule = pb.SecurityGroupRule(id="sgr-1", protocol="-1", cidr_ipv4="10.0.0.0/8")
    group = pb.Resource(id="sg-1", security_group=pb.SecurityGroup(vpc_id="vpc-1", rules=[rule] * 6000))
    interface = make.interface("eni-1", "i-1")
    interface.interface.security_group_ids[:] = ["sg-1", "sg-absent"]
    said = _said(interface, group, about=Key(pb.KIND_INTERFACE, "eni-1"))
    assert (said.resource, list(said.security_groups)) == (interface, [])
    machine = make.machine("i-1", volumes=(), interfaces=())
    machine.machine.uefi_variables = bytes(limits.UNCLAIMED_BYTES)
    said = _said(machine, about=Key(pb.KIND_MACHINE, "i-1"))
    assert (said.HasField("resource"), said.vcpus) == (False, machine.machine.vcpus)


def test_a_message_ends_when_unclaimed_resources_have_filled_it() -> None:
    body = pb.Resource(id="i", machine=pb.Machine(uefi_variables=bytes(1000)))
    reports = Reports(lambda: None, lambda key: host_pb2.Unclaimed(resource=body) if key.id != "i-4" else None)
    for number in range(6):
        reports.put(status(Key(pb.KIND_MACHINE, f"i-{number}"), 1, host_pb2.CONDITION_READY))
    sizes = []
    while reports.has_news():
        sizes.append([each.id for each in reports.take(most=4, most_bytes=2000)])
        assert reports.reached(1) == (1 if len(sizes) == 3 else 0), "what is still to be said is not reached"
    assert sizes == [["i-0", "i-1"], ["i-2", "i-3"], ["i-4", "i-5"]]


def _kept(bench: Bench, kind: "pb.Kind.ValueType") -> set[str]:
    return {key.id for key in bench.reconciler.wanted.resources if key.kind == kind}


def test_parts_of_a_vpc_stay_as_long_as_an_unclaimed_interface_is_in_it(bench: Bench, sender: make.Sender) -> None:
    """They are of no use by themselves, and nobody is told of them: they go with the last interface."""
    bench.settle(sender.change(*make.launch("2")))
    older = make.Sender("epoch-2")
    bench.settle(older.change(make.host_network(), full=True))
    bench.settle(older.full())
    assert bench.host.running() == {"i-1", "i-2"}
    parts = {key for key in bench.reconciler.wanted.unclaimed if key.kind in SHARED_KINDS}
    assert {key.kind for key in parts} >= {pb.KIND_SUBNET, pb.KIND_SECURITY_GROUP}
    for number, (vpcs, left) in {"1": ({"vpc-1"}, parts), "2": (set(), set())}.items():
        gone = (Key(pb.KIND_MACHINE, f"i-{number}"), Key(pb.KIND_INTERFACE, f"eni-{number}"))
        bench.settle(older.change(gone=gone))
        assert _kept(bench, pb.KIND_VPC) == vpcs
        assert parts & bench.reconciler.wanted.unclaimed == left
        assert bool(parts & set(bench.reconciler.wanted.resources)) == bool(left)
    assert bench.host.running() == set()


def test_what_only_was_told_of_a_vpc_goes_when_all_that_there_is_was_said(bench: Bench, sender: make.Sender) -> None:
    """An adopted interface is in a group that its host was told of by nobody again; a full state says what there is."""
    group = make.group("sg-9")
    bench.settle(sender.change(group))
    older = make.Sender("epoch-2")
    known = [make.host_network(), *make.launch("1")]
    bench.settle(older.change(*known, full=True))
    assert "sg-9" not in _kept(bench, pb.KIND_SECURITY_GROUP), "no unclaimed interface is in its VPC"
    assert bench.host.running() == {"i-1"}
    _all_kept(bench)


def test_a_change_that_removes_nothing_takes_nothing_away(bench: Bench, sender: make.Sender) -> None:
    """Of what is adopted, the interface may be named before the parts of its VPC are."""
    older = make.Sender("epoch-2")
    bench.settle(older.change(make.host_network(), full=True))
    parts = {key for key in bench.reconciler.wanted.unclaimed if key.kind in SHARED_KINDS}
    resources = {each.id: each for each in make.launch("1")}
    bench.settle(older.change(resources["eni-1"]))
    assert parts
    assert parts <= bench.reconciler.wanted.unclaimed
    gone = (Key(pb.KIND_SUBNET, "subnet-1"), Key(pb.KIND_INTERFACE, "eni-of-nobody"))
    bench.settle(older.change(gone=gone))
    assert parts - set(gone) <= bench.reconciler.wanted.unclaimed
    bench.settle(older.change(*make.launch("1")))
    assert not bench.reconciler.wanted.unclaimed
    _all_kept(bench)


def test_the_vpc_of_a_peer_stays_with_the_interface(bench: Bench, sender: make.Sender) -> None:
    for mine, other in ((1, 2), (3, 4)):  # the latter without any interface
        vpcs = [make.vpc(f"vpc-{number}", number=number) for number in (mine, other)]
        peering = pb.Peering(vpc_id=f"vpc-{mine}", peer_vpc_id=f"vpc-{other}", peering_id=f"pcx-{mine}")
        peering.peer_cidr_blocks.append(f"10.{other}.0.0/16")
        bench.settle(sender.change(*vpcs, pb.Resource(id=f"pcx-{mine}:vpc-{mine}", peering=peering)))
    older = make.Sender("epoch-2")
    bench.settle(older.change(make.host_network(), full=True))
    assert _kept(bench, pb.KIND_VPC) == {"vpc-1", "vpc-2"}
    bench.settle(older.change(gone=(Key(pb.KIND_MACHINE, "i-1"), Key(pb.KIND_INTERFACE, "eni-1"))))
    bench.settle(older.full())
    assert _kept(bench, pb.KIND_VPC) == set()


def test_parts_of_a_vpc_are_said_whole_and_that_they_are_known_again(bench: Bench) -> None:
    """But for mappings, of which there may be thousands."""
    older = make.Sender("epoch-2")
    bench.reported.clear()
    bench.settle(older.change(make.host_network(), full=True))
    kept = bench.reconciler.wanted
    [subnet] = [key for key in kept.unclaimed if key.kind == pb.KIND_SUBNET]
    reported = bench.report()
    assert reported[subnet].condition == host_pb2.CONDITION_UNCLAIMED
    assert reported[subnet].unclaimed.resource == kept.resources[subnet]
    assert {key.kind for key in kept.unclaimed} - {key.kind for key in reported} <= {pb.KIND_MAPPING}
    for rows, said in ((b"first", {host_pb2.CONDITION_READY}), (b"second", set())):
        known = pb.Resource.FromString(kept.resources[subnet].SerializeToString())
        known.subnet.rows = rows
        bench.reported.clear()
        bench.settle(older.change(known))
        assert {each.condition for key, each in bench.report().items() if key == subnet} == said


def test_that_parts_of_a_vpc_went_with_the_last_guest_in_it_is_said(bench: Bench) -> None:
    older = make.Sender("epoch-2")
    bench.settle(older.change(make.host_network(), full=True))
    [subnet] = [key for key in bench.reconciler.wanted.unclaimed if key.kind == pb.KIND_SUBNET]
    bench.reported.clear()
    bench.settle(older.change(gone=(Key(pb.KIND_MACHINE, "i-1"), Key(pb.KIND_INTERFACE, "eni-1"))))
    assert bench.report()[subnet].condition == host_pb2.CONDITION_ABSENT


def test_hosts_that_have_not_joined_yet_are_let_in_as_long_as_something_is_unclaimed(
    bench: Bench, sender: make.Sender
) -> None:
    there, nowhere, other = (make.mapping(f"eni-{n}", f"10.1.0.{n}") for n in (7, 8, 9))
    there.mapping.host_address, other.mapping.host_address = "192.0.2.2", "192.0.2.9"
    volume = make.volume("vol-7")
    volume.volume.remote.CopyFrom(pb.RemoteVolume(home_host_id="h-3", address="192.0.2.3", port=61000))
    told = make.host_network()
    told.host_network.underlay_addresses.append("192.0.2.1")
    bench.settle(sender.change(told, there, nowhere, volume))
    assert translate_vpc.unclaimed_peers(bench.reconciler.wanted) == frozenset()
    assert bench.host.world.objects.underlay_peers == {"192.0.2.1"}
    older = make.Sender("epoch-2")
    older.revision = 100  # a new controller begins with the time
    bench.settle(older.change(told, full=True))
    assert bench.host.world.objects.underlay_peers == {"192.0.2.1", "192.0.2.2", "192.0.2.3"}
    bench.settle(older.change(*make.launch(), there, nowhere, volume, other))
    assert bench.reconciler.wanted.unclaimed == frozenset()
    told.host_network.underlay_addresses.append("192.0.2.2")
    bench.settle(older.change(told))
    assert bench.host.world.objects.underlay_peers == {"192.0.2.1", "192.0.2.2"}
