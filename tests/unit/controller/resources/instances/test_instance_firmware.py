"""What a guest of UEFI has stored goes with it: kept from the end of a start to the next, the newest or nothing."""

import pytest
from sqlalchemy import select, update

from stead_controller.db.tables import Host, HostResource, Instance, InstanceFirmware
from stead_controller.errors import NoCapacity
from stead_controller.hosts.reports import apply_progress
from stead_controller.resources.instances import start_places
from stead_controller.resources.instances.start_instances import start_instances
from stead_controller.resources.instances.stop_instances import stop_instances
from stead_controller.resources.instances.terminate_instances import terminate_instances
from stead_controller.resources.operators import host_records
from stead_proto.v1 import desired_pb2 as desired
from stead_proto.v1 import host_pb2 as pb
from tests.support.rows import CLOUD, NOW
from tests.unit.controller.resources.operators.drained_cloud import DrainedCloud, end_guests, instance, stopped
from tests.unit.controller.resources.test_volumes_on_three_hosts import begun

MACHINE = int(desired.KIND_MACHINE)


@pytest.fixture
def cloud(tmp_path, empty_database_file):
    """Three hosts with two instances each; those of the first are numbers 0 and 3, and 0 boots by UEFI."""
    made = begun(DrainedCloud, tmp_path / "stead.sqlite", empty_database_file, first_boots_by_uefi)
    yield made
    made.database.close()


def first_boots_by_uefi(cloud):
    cloud.settle()
    cloud.boot_by_uefi(0)


def kept(cloud):
    found = cloud.all(select(InstanceFirmware))
    return [(row.start_count, row.variables, row.tpm, row.is_moved) for (row,) in found]


def wanted(cloud, host, number=0):
    body = cloud.run(lambda tx: tx.session.get(HostResource, (host.id, MACHINE, cloud.instances[number]))).body
    return desired.Resource.FromString(body).machine if body is not None else None


def set_hosts(cloud, *which, **values):
    cloud.run(lambda tx: tx.session.execute(update(Host).where(*which).values(**values)) and None)


def start(cloud):
    cloud.run(start_instances, cloud.caller, CLOUD, cloud.instances[:1], NOW)
    cloud.settle()
    return next(host for host in cloud.hosts if host.id == instance(cloud, 0).host_id)


def report(cloud, power, start_count, variables=b"", *, host=0, condition=pb.CONDITION_READY, tpm=b""):
    machine = pb.MachineStatus(power=power, start_count=start_count)
    if variables:
        machine.firmware.CopyFrom(desired.FirmwareState(start_count=start_count, variables=variables, tpm=tpm))
    status = pb.ResourceStatus(kind=MACHINE, id=cloud.instances[0], condition=condition, machine=machine)
    cloud.run(apply_progress, [(cloud.hosts[host].id, [status])], NOW)


OFF, RUNNING = pb.MACHINE_POWER_OFF, pb.MACHINE_POWER_RUNNING


def test_it_is_kept_while_it_is_stopped_and_its_host_is_asked_no_more(cloud):
    first = cloud.hosts[0]
    assert (kept(cloud), wanted(cloud, first).firmware_kept) == ([], 0)
    stopped(cloud)
    assert kept(cloud) == [(1, b"1", b"", False)]
    assert (wanted(cloud, first).firmware_kept, wanted(cloud, first).HasField("firmware")) == (1, False)
    assert start(cloud) is first
    assert (kept(cloud), wanted(cloud, first).firmware_kept) == ([], 0)


def test_it_goes_where_the_guest_starts(cloud):
    stopped(cloud)
    set_hosts(cloud, Host.id == cloud.hosts[0].id, schedulable=False)
    cloud.run(start_instances, cloud.caller, CLOUD, cloud.instances[:1], NOW)
    other = next(host for host in cloud.hosts if host.id == instance(cloud, 0).host_id)
    assert other is not cloud.hosts[0]
    sent = wanted(cloud, other)
    assert sent.firmware == desired.FirmwareState(start_count=1, variables=b"1")
    assert wanted(cloud, cloud.hosts[0]) is None
    cloud.settle()
    assert (kept(cloud), wanted(cloud, other).HasField("firmware")) == ([], False)
    assert (other.firmware, cloud.hosts[0].firmware) == ({cloud.instances[0]: (2, 2)}, {})
    stopped(cloud)
    assert kept(cloud) == [(2, b"2", b"", False)]


def test_a_host_that_it_comes_back_to_lays_it_again(cloud):
    """It may have removed what it had, or not yet."""
    stopped(cloud)
    first, *others = cloud.hosts
    cloud.run(lambda tx: start_places.relocate(tx, tx.session.get_one(Instance, cloud.instances[0]), others[0].id))
    assert kept(cloud) == [(1, b"1", b"", True)]
    cloud.run(lambda tx: start_places.relocate(tx, tx.session.get_one(Instance, cloud.instances[0]), first.id))
    assert wanted(cloud, first).HasField("firmware")
    set_hosts(cloud, Host.id != first.id, schedulable=False)
    assert start(cloud) is first


def test_a_drain_takes_it_along(cloud):
    cloud.drain(stop=True)
    cloud.settle_all()
    assert (instance(cloud, 0).state, cloud.shown().state) == ("running", "drained")
    assert cloud.hosts[0].firmware == {}


def test_until_its_host_has_reported_it_the_guest_stays_there(cloud):
    stopped(cloud)
    cloud.run(lambda tx: tx.session.execute(InstanceFirmware.__table__.delete()) and None)
    asked = instance(cloud, 0)
    assert cloud.run(start_places.what_binds, asked) == "its UEFI variables are there"
    cloud.run(lambda tx: tx.session.execute(update(Instance).values(sealed_tpm_key=b"k")) and None)
    assert cloud.run(start_places.what_binds, instance(cloud, 0)) == "the state of its TPM is there"
    set_hosts(cloud, Host.id == cloud.hosts[0].id, memory_offered=0)
    with pytest.raises(NoCapacity, match="It can start on no other host, since the state of its TPM is there"):
        start(cloud)
    report(cloud, OFF, 1, b"1", tpm=b"encrypted")
    assert kept(cloud) == [(1, b"1", b"encrypted", False)]
    assert not cloud.run(start_places.what_binds, instance(cloud, 0))


def test_of_two_reports_the_newer_counts(cloud):
    stopped(cloud)
    report(cloud, OFF, 1, b"again")
    assert kept(cloud) == [(1, b"1", b"", False)]
    report(cloud, OFF, 0, b"older")
    assert kept(cloud) == [(1, b"1", b"", False)]
    report(cloud, OFF, 2, b"newer")
    assert kept(cloud) == [(2, b"newer", b"", False)]
    report(cloud, OFF, 3)  # a later start has ended, and its host could not say what it stored
    assert kept(cloud) == []


@pytest.mark.parametrize(("power", "start_count", "stays"), [(OFF, 1, True), (RUNNING, 0, True), (RUNNING, 1, False)])
def test_a_guest_that_runs_makes_a_newer_one(cloud, power, start_count, stays):
    """One of a host that was down goes on with its last start; what is older says nothing."""
    stopped(cloud)
    report(cloud, power, start_count)
    assert (kept(cloud) != []) == stays


def test_what_another_host_says_of_it_does_not_count(cloud):
    stopped(cloud)
    report(cloud, OFF, 7, b"of old", host=1)
    assert kept(cloud) == [(1, b"1", b"", False)]


def test_nothing_is_kept_of_what_runs_or_boots_otherwise(cloud):
    report(cloud, RUNNING, 1, b"as it runs")
    assert kept(cloud) == []
    cloud.run(lambda tx: tx.session.execute(update(Instance).values(boot_mode="legacy-bios")) and None)
    report(cloud, OFF, 1, b"of BIOS")
    assert kept(cloud) == []


def test_it_ends_with_the_instance(cloud):
    stopped(cloud)
    assert kept(cloud) != []
    end_guests(cloud)
    assert kept(cloud) == []


def test_it_ends_with_a_host_that_is_lost(cloud):
    stopped(cloud)
    set_hosts(cloud, Host.id == cloud.hosts[0].id, state="down")
    cloud.run(host_records.remove_host, CLOUD, cloud.hosts[0].id, NOW, lost=True)
    assert kept(cloud) == []


def test_a_host_whose_agent_could_not_lay_it_is_not_chosen(cloud):
    stopped(cloud)
    first, second, third = cloud.hosts
    set_hosts(cloud, Host.id == first.id, schedulable=False)
    set_hosts(cloud, Host.id == second.id, lays_firmware=False, memory_reserved=0)
    set_hosts(cloud, Host.id == third.id, memory_reserved=Host.memory_reserved + (1 << 30))
    with pytest.raises(NoCapacity, match="renew its agent"):
        cloud.run(lambda tx: start_places.relocate(tx, tx.session.get_one(Instance, cloud.instances[0]), second.id))
    assert cloud.run(start_places.any_other, instance(cloud, 0)) == third.id
    assert start(cloud) is third


def test_its_own_host_is_chosen_whatever_its_agent(cloud):
    stopped(cloud)
    set_hosts(cloud, lays_firmware=False)
    assert start(cloud) is cloud.hosts[0]


def test_others_may_have_any_host(cloud):
    stopped(cloud, 3)
    set_hosts(cloud, Host.id == cloud.hosts[1].id, lays_firmware=False)
    cloud.run(lambda tx: start_places.relocate(tx, tx.session.get_one(Instance, cloud.instances[3]), cloud.hosts[1].id))
    assert instance(cloud, 3).host_id == cloud.hosts[1].id


@pytest.mark.parametrize("lacks", ["uefi", "tpm"])
def test_a_stopped_one_goes_to_a_host_that_has_its_firmware(cloud, lacks):
    stopped(cloud)
    set_hosts(cloud, tpm=True)
    set_hosts(cloud, Host.id != cloud.hosts[0].id, **{lacks: False})
    cloud.run(lambda tx: tx.session.execute(update(Instance).values(sealed_tpm_key=b"k")) and None)
    assert cloud.run(start_places.any_other, instance(cloud, 0)) is None
    set_hosts(cloud, Host.id == cloud.hosts[2].id, uefi=True, tpm=True)
    assert cloud.run(start_places.any_other, instance(cloud, 0)) == cloud.hosts[2].id


def test_a_start_that_never_was_leaves_what_was_kept(cloud):
    stopped(cloud)
    set_hosts(cloud, Host.id == cloud.hosts[0].id, schedulable=False)
    cloud.run(start_instances, cloud.caller, CLOUD, cloud.instances[:1], NOW)
    cloud.run(stop_instances, cloud.caller, cloud.instances[:1], NOW)
    cloud.settle()
    assert instance(cloud, 0).state == "stopped"
    assert kept(cloud) == [(1, b"1", b"", True)]
    set_hosts(cloud, schedulable=True)
    start(cloud)  # which finds what it wrote last
    assert instance(cloud, 0).state == "running"
    cloud.run(terminate_instances, cloud.caller, cloud.instances[:1], NOW)
