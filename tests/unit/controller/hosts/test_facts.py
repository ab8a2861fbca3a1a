"""What a host says of itself becomes the room that it gives, also after it has become smaller."""

from dataclasses import replace

import pytest

from stead_controller.db.tables import Host
from stead_controller.desired import desired_state
from stead_controller.errors import NoCapacity
from stead_controller.hosts.facts import note_enrolment, settle_enrolment, take_facts
from stead_controller.placement.need import Need
from stead_controller.resources.host_capacity import capacity
from stead_proto.v1 import host_pb2 as pb
from tests.support import rows
from tests.support.attached_volumes import Place
from tests.support.rows import CLOUD, GIB, NOW

EXACT = replace(CLOUD, cpu_overcommit=1.0, memory_kept=0)
NEED = Need(2, 2 * GIB)
FACTS = {"architecture": "x86_64", "cpus": 8, "memory": 8 * GIB, "virtualization": "kvm"}


@pytest.fixture
def says(run, world):
    """Let the world's host say of itself: `says(cpus=8)` gives its row."""

    def hello(**changes):
        facts = pb.HostFacts(**FACTS | changes)
        run(take_facts, [(world.host_id, pb.Hello(facts=facts))], EXACT, NOW)
        return run(lambda tx: tx.session.get_one(Host, world.host_id))

    return hello


def fits(run, world):
    try:
        run(capacity.reserve_any, EXACT, NEED, "us-east-1a")
    except NoCapacity:
        return False
    return True


def test_a_host_that_shrank_does_not_promise_what_it_has_not(run, world, says):
    """What ends on it first makes up for what is missing: only then there is room for something new."""
    says()
    assert [fits(run, world) for _ in range(5)] == [True, True, True, True, False]
    smaller = says(cpus=4, memory=4 * GIB)
    assert (smaller.cpus_free, smaller.memory_free) == (-4, -4 * GIB)
    for _ in range(2):
        run(capacity.release, world.host_id, NEED)
        assert not fits(run, world)
    run(capacity.release, world.host_id, NEED)
    assert fits(run, world)
    assert not fits(run, world)
    again = says(cpus=8, memory=8 * GIB)
    assert (again.cpus_free, again.memory_free) == (4, 4 * GIB)


@pytest.mark.parametrize(
    ("boot_modes", "uefi"), [(["legacy-bios", "uefi"], True), (["legacy-bios"], False), ([], False)]
)
def test_a_host_has_uefi_firmware_if_it_says_so_and_one_of_an_earlier_release_does_not(says, boot_modes, uefi):
    assert says(boot_modes=boot_modes).uefi is uefi


@pytest.mark.parametrize("tpm", [True, False])
def test_a_host_gives_tpms_if_it_says_so(says, tpm):
    assert says(tpm=tpm).tpm is tpm


@pytest.mark.parametrize(("virtualization", "accelerated"), [("kvm", True), ("qemu", False), ("", False)])
def test_a_host_is_accelerated_while_kvm_works(says, virtualization, accelerated):
    said = says(virtualization=virtualization)
    assert said.accelerated is accelerated
    assert said.memory_offered == 8 * GIB - (0 if accelerated else 8 * (64 << 20))  # kept for emulation


def test_its_processors_and_memory_nodes(says):
    nodes = [pb.NumaNode(number=0, threads="0-3", memory=GIB), pb.NumaNode(number=1, threads="4-7", memory=2 * GIB)]
    known = pb.Hardware(cores=4, cpu_model="x" * 300, cpu_features=["avx2", "vmx"], numa_nodes=nodes)
    found = says(hardware=known)
    assert (found.cores, found.cpu_model, found.cpu_features) == (4, "x" * 128, "avx2 vmx")
    assert [tuple(node) for node in found.numa_nodes] == [(0, "0-3", GIB), (1, "4-7", 2 * GIB)]
    older = says()
    assert (older.cores, older.cpu_model, older.cpu_features, older.numa_nodes) == (0, "", "", [])


def test_the_homes_of_its_volumes_are_told_that_a_host_enrolled_again(run, world, monkeypatch):
    other = rows.host(hostname="box2")
    run(lambda tx: tx.session.add(other))
    place = Place(run, world, other.id)
    here, there = place.launch(), place.launch(host_id=other.id)
    used = place.remote(there)
    place.attached(there, host_id=place.other_host)  # which is at home there
    place.remote(here, host_id=place.other_host)  # which another host uses
    assert place.sent(used).export.client_enrolment == "", "it has enrolled once"
    told, tell = [], desired_state.refresh_volume
    monkeypatch.setattr(desired_state, "refresh_volume", lambda tx, volume: (told.append(volume.id), tell(tx, volume)))

    def admitted():
        export = place.sent(used).export
        return export.client_enrolment, export.client_former_enrolment if export.HasField(
            "client_former_enrolment"
        ) else None

    for mark, first in (("0" * 16, ""), ("1" * 16, "")):  # again, before what runs there has had the first
        place.run(lambda tx, mark=mark: note_enrolment(tx, tx.session.get_one(Host, place.other_host), mark))
        assert admitted() == (mark, first)
    place.run(settle_enrolment, place.other_host)
    assert admitted() == ("1" * 16, None)
    place.run(settle_enrolment, place.other_host)
    assert told == [used] * 3
