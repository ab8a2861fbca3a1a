"""From launch to the end of an instance: requests on one side, a host's reports on the other."""

import ipaddress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select

from stead_controller.db.tables import (
    AccountUsage,
    Host,
    HostResource,
    Instance,
    InterfaceGroup,
    NetworkInterface,
    PublicAddress,
    StoragePool,
    Tag,
    Volume,
)
from stead_controller.desired import changes, desired_state, revisions
from stead_controller.desired.forgetting import forget_removals
from stead_controller.errors import (
    IdempotencyMismatch,
    InvalidCombination,
    InvalidParameter,
    LimitExceeded,
    MalformedId,
    NoCapacity,
    NotFound,
    WrongState,
)
from stead_controller.hosts.reports import apply_progress, give_up_launch
from stead_controller.placement.guest_memory import memory_of
from stead_controller.resources.instances.metadata_options import MetadataOptions
from stead_controller.resources.instances.reboot_instances import reboot_instances
from stead_controller.resources.instances.start_instances import start_instances
from stead_controller.resources.instances.stop_instances import stop_instances
from stead_controller.resources.instances.terminate_instances import terminate_instances
from stead_controller.resources.network import interface_changes
from stead_controller.resources.network.network_interface_life import AddressRequest
from stead_controller.resources.storage.block_devices import BlockDevice
from stead_proto.v1 import desired_pb2 as desired
from stead_proto.v1 import host_pb2 as pb
from tests.support.examples import examples
from tests.support.life import Life
from tests.support.rows import GIB, NOW


def test_a_launch_writes_all_rows_and_the_hosts_desired_state(life):
    before = life.host()
    [instance_id] = life.launch(
        user_data=b"#!/bin/sh\n",
        tags={"instance": {"Name": "one"}, "volume": {"of": "one"}},
        block_devices=(BlockDevice("/dev/sda1", size=5),),
    )
    instance = life.instance(instance_id)
    assert instance.state == "pending"
    address = instance.private_address
    assert ipaddress.ip_address(address) in ipaddress.ip_network("172.31.0.0/20")
    assert instance.public_address
    host = life.host()
    assert host.memory_free == before.memory_free - memory_of(128 << 20, 1)
    assert host.cpus_free == before.cpus_free - 1
    wanted, removals = life.wanted()
    machine = wanted[instance_id].machine
    assert machine.power == desired.POWER_RUNNING
    assert machine.start_count == 1
    assert machine.metadata.user_data == b"#!/bin/sh\n"
    assert machine.metadata.hostname == f"ip-{address.replace('.', '-')}.ec2.internal"
    volume = wanted[machine.disks[0].volume_id].volume
    assert volume.size == 5 << 30
    assert volume.base_id == life.image().snapshot_id
    assert wanted[volume.base_id].base.size == life.image().virtual_size
    interface = wanted[machine.interfaces[0].interface_id].interface
    assert interface.private_address == address
    assert interface.public_addresses[0].public_address == instance.public_address
    assert list(interface.security_group_ids) == [life.world.one.group_id]
    group_id = life.world.one.group_id
    group = wanted[group_id].security_group
    assert {rule.group_id for rule in group.rules} == {life.world.one.group_id, ""}
    mapping = wanted[f"mapping of {machine.interfaces[0].interface_id}"].mapping
    assert (list(mapping.addresses), list(mapping.security_group_ids)) == ([address], [group_id])
    assert {life.image().snapshot_id, life.world.one.vpc_id, life.world.one.subnet_ids[0]} <= wanted.keys()
    assert not removals
    assert life.rows(Tag) == 2


def test_an_instance_runs_stops_and_starts_again_with_the_same_private_address(life):
    [instance_id] = life.launch()
    life.is_running(instance_id)
    first = life.instance(instance_id)
    assert first.state == "running"
    [change] = life.run(stop_instances, life.caller, [instance_id], NOW)
    assert (change.previous, change.current) == ("running", "stopping")
    assert life.wanted()[0][instance_id].machine.power == desired.POWER_STOPPED
    life.power(instance_id, pb.MACHINE_POWER_OFF, pb.OFF_REASON_ASKED)
    stopped = life.instance(instance_id)
    assert stopped.state == "stopped"
    assert stopped.state_reason_code == "Client.UserInitiatedShutdown"
    assert stopped.public_address is None
    assert not stopped.capacity_held
    assert life.host().memory_reserved == 0
    [change] = life.run(start_instances, life.caller, life.world.cloud, [instance_id], NOW)
    assert (change.previous, change.current) == ("stopped", "pending")
    again = life.instance(instance_id)
    assert again.private_address == first.private_address
    assert again.public_address not in (None, first.public_address)
    assert life.wanted()[0][instance_id].machine.start_count == 2
    assert life.host().memory_reserved == memory_of(128 << 20, 1)
    life.power(instance_id, pb.MACHINE_POWER_OFF, pb.OFF_REASON_GUEST, start_count=1)  # late news of the first start
    assert life.instance(instance_id).state == "pending"
    life.is_running(instance_id)
    assert life.instance(instance_id).state == "running"


def test_after_termination_nothing_is_left(life):
    free = life.host()
    instance_ids = life.launch(3, tags={"instance": {"a": "b"}, "volume": {"a": "b"}, "network-interface": {"a": "b"}})
    for instance_id in instance_ids:
        life.is_running(instance_id)
    life.run(terminate_instances, life.caller, instance_ids, NOW)
    assert life.wanted()[1] == set(instance_ids)
    for instance_id in instance_ids:
        life.is_absent(desired.KIND_MACHINE, instance_id)
        assert life.instance(instance_id).state == "terminated"
    wanted, removals = life.wanted()
    volumes = life.run(lambda tx: list(tx.session.scalars(select(Volume.id))))
    assert removals >= set(volumes)
    assert life.world.one.vpc_id not in wanted
    for volume in volumes:
        life.is_absent(desired.KIND_VOLUME, volume)
    revision = life.run(revisions.current)
    life.run(lambda tx: setattr(tx.session.get_one(Host, life.world.host_id), "revision_reached", revision))
    life.run(forget_removals, NOW)
    wanted, removals = life.wanted()
    assert not removals
    assert set(wanted) <= {life.image().snapshot_id}
    assert life.rows(Volume) == life.rows(NetworkInterface) == life.rows(InterfaceGroup) == 0
    assert life.rows(Tag) == 3  # those of the instances, for as long as they can be described
    after = life.host()
    assert (after.memory_free, after.cpus_free, after.memory_reserved) == (free.memory_free, free.cpus_free, 0)
    assert (
        life.run(lambda tx: tx.session.scalar(select(func.count()).where(PublicAddress.interface_id.is_not(None)))) == 0
    )


def test_what_must_go_is_not_wanted_again_whatever_changes_of_it(life):
    """An address that is released, say, between TerminateInstances and the end of the guest."""
    [instance_id] = life.launch()
    life.is_running(instance_id)
    life.run(terminate_instances, life.caller, [instance_id], NOW)
    life.run(lambda tx: interface_changes.changed(tx, tx.session.scalars(select(NetworkInterface)).one()))
    wanted, removals = life.wanted()
    assert removals == {instance_id}
    assert instance_id not in wanted
    life.is_absent(desired.KIND_MACHINE, instance_id)
    life.run(desired_state.refresh_instance, instance_id)
    wanted, removals = life.wanted()
    assert instance_id not in wanted
    assert life.instance(instance_id).state == "terminated"


@pytest.mark.parametrize("row", ["wanted", "forgotten"])
def test_a_termination_that_an_earlier_release_took_back_is_ended_at_the_start(life, row):
    """It sent the machine to the host again, or no longer waited for a word of it."""
    [instance_id], [runs] = life.launch(), life.launch()
    key = (life.world.host_id, desired.KIND_MACHINE, instance_id)
    had = life.run(lambda tx: tx.session.get(HostResource, key).body)
    life.run(terminate_instances, life.caller, [instance_id], NOW)
    assert life.run(desired_state.remove_ended) == 0

    def take_back(tx):
        sent = tx.session.get(HostResource, key)
        if row == "wanted":
            sent.body = had
        else:
            tx.session.delete(sent)

    life.run(take_back)
    assert life.run(desired_state.remove_ended) == 1
    wanted, removals = life.wanted()
    assert (instance_id in removals, instance_id in wanted, runs in wanted) == (True, False, True)
    life.is_absent(desired.KIND_MACHINE, instance_id)
    assert life.instance(instance_id).state == "terminated"
    assert life.run(desired_state.remove_ended) == 0


def test_a_guest_that_powers_itself_off_is_stopped_or_terminated_as_launched(life):
    [stays] = life.launch()
    [goes] = life.launch(shutdown_behavior="terminate")
    for instance_id in (stays, goes):
        life.is_running(instance_id)
        life.power(instance_id, pb.MACHINE_POWER_OFF, pb.OFF_REASON_GUEST)
    assert life.instance(stays).state == "stopped"
    assert life.instance(stays).state_reason_code == "Client.InstanceInitiatedShutdown"
    assert life.wanted()[0][stays].machine.power == desired.POWER_STOPPED
    assert life.instance(goes).state == "shutting-down"
    assert goes in life.wanted()[1]


def test_a_crashed_process_is_no_shutdown_by_the_guest(life):
    [instance_id] = life.launch(shutdown_behavior="terminate", auto_recovery=False)
    life.is_running(instance_id)
    life.power(instance_id, pb.MACHINE_POWER_OFF, pb.OFF_REASON_CRASHED)
    assert life.instance(instance_id).state == "stopped"
    assert life.instance(instance_id).state_reason_code == "Server.InternalError"


def test_a_plug_pulled_by_hand_on_the_host_is_no_lie_for_long(life):
    [instance_id] = life.launch(shutdown_behavior="terminate")
    life.is_running(instance_id)
    life.power(instance_id, pb.MACHINE_POWER_OFF, pb.OFF_REASON_ASKED)
    assert life.instance(instance_id).state == "stopped"
    [again] = life.launch()
    life.is_running(again)
    life.power(again, pb.MACHINE_POWER_OFF)  # the host was down: its agent starts it again
    assert life.instance(again).state == "running"


def test_a_start_that_fails_for_too_long_is_given_up(life):
    [instance_id] = life.launch()
    life.report(desired.KIND_MACHINE, instance_id, pb.CONDITION_FAILED, error="no space left on device")
    assert life.instance(instance_id).host_error == "no space left on device"
    life.run(lambda tx: give_up_launch(tx, tx.session.get_one(Instance, instance_id), NOW))
    assert life.instance(instance_id).state == "shutting-down"
    life.is_absent(desired.KIND_MACHINE, instance_id)
    ended = life.instance(instance_id)
    assert (ended.state, ended.state_reason_code) == ("terminated", "Server.InternalError")
    assert life.host().memory_reserved == 0


def test_reboots_are_counted_for_the_host(life):
    [instance_id] = life.launch()
    life.is_running(instance_id)
    life.run(reboot_instances, life.caller, [instance_id])
    assert life.wanted()[0][instance_id].machine.reboot_count == 1


def test_a_host_gets_exactly_what_it_missed(life):
    [first] = life.launch()
    known = life.run(revisions.current)
    [second] = life.launch()
    update = life.run(lambda tx: changes.changes_since(tx, life.world.host_id, known))
    changed = {item.id for item in update.message.state.resources}
    assert second in changed
    assert first not in changed
    assert not update.message.state.full
    nothing = life.run(lambda tx: changes.changes_since(tx, life.world.host_id, update.revision)).message.state
    assert not nothing.resources
    assert not nothing.removals


def test_another_hosts_report_changes_nothing(life, unchanged):
    [instance_id] = life.launch()
    unchanged()
    status = pb.ResourceStatus(
        kind=desired.KIND_MACHINE,
        id=instance_id,
        condition=pb.CONDITION_READY,
        machine=pb.MachineStatus(power=pb.MACHINE_POWER_RUNNING, start_count=1),
    )
    life.run(apply_progress, [("h-00000000000000000", [status])], NOW)
    unchanged()


def test_late_and_repeated_news_of_an_earlier_start_change_nothing(life, unchanged):
    """As from a session that had ended, of whose words some are still on their way."""
    [instance_id] = life.launch()
    life.is_running(instance_id)
    life.run(stop_instances, life.caller, [instance_id], NOW)
    life.power(instance_id, pb.MACHINE_POWER_OFF, pb.OFF_REASON_ASKED)
    life.run(start_instances, life.caller, life.world.cloud, [instance_id], NOW)
    unchanged()
    for _ in range(2):
        life.power(instance_id, pb.MACHINE_POWER_RUNNING, start_count=1)
        for reason in (pb.OFF_REASON_ASKED, pb.OFF_REASON_GUEST, pb.OFF_REASON_CRASHED):
            life.power(instance_id, pb.MACHINE_POWER_OFF, reason, start_count=1)
    unchanged()
    life.is_running(instance_id)
    assert life.instance(instance_id).state == "running"


def test_a_client_token_launches_once(life):
    first = life.launch(2, client_token="t", digest="d")
    assert life.launch(2, client_token="t", digest="d") == first
    assert life.rows(Instance) == 2
    with pytest.raises(IdempotencyMismatch):
        life.launch(2, client_token="t", digest="other")


def test_as_many_as_fit_are_launched_but_never_fewer_than_asked(life, unchanged):
    life.run(lambda tx: setattr(tx.session.get_one(Host, life.world.host_id), "cpus_offered", 3))
    unchanged()
    with pytest.raises(NoCapacity):
        life.launch(4)
    unchanged()
    assert len(life.launch(min_count=1, max_count=10)) == 3


def test_a_drained_or_silent_host_gets_no_instance(life):
    life.run(lambda tx: setattr(tx.session.get_one(Host, life.world.host_id), "schedulable", False))
    with pytest.raises(NoCapacity):
        life.launch()


BAD_LAUNCHES = {
    "no such type": ({"instance_type": "t3.huge"}, InvalidParameter),
    "malformed image": ({"image_id": "ami-x"}, MalformedId),
    "no such image": ({"image_id": "ami-00000000000000000"}, NotFound),
    "no such key": ({"key_name": "nobody"}, NotFound),
    "malformed subnet": ({"subnet_id": "subnet-"}, MalformedId),
    "no such subnet": ({"subnet_id": "subnet-00000000000000000"}, NotFound),
    "malformed group": ({"group_ids": ("default",)}, MalformedId),
    "no such group": ({"group_ids": ("sg-00000000000000000",)}, NotFound),
    "no such group name": ({"group_names": ("nobody",)}, NotFound),
    "user data too long": ({"user_data": b"x" * 16385}, InvalidParameter),
    "no instance": ({"min_count": 0}, InvalidParameter),
    "more at least than at most": ({"min_count": 2, "max_count": 1}, InvalidParameter),
    "too many": ({"max_count": 1001}, InvalidParameter),
    "one address for two": (
        {"addresses": AddressRequest(primary="172.31.0.9"), "min_count": 2, "max_count": 2},
        InvalidCombination,
    ),
    "foreign address": ({"addresses": AddressRequest(primary="10.0.0.9")}, InvalidParameter),
    "reserved address": ({"addresses": AddressRequest(primary="172.31.0.3")}, InvalidParameter),
    "broadcast address": ({"addresses": AddressRequest(primary="172.31.15.255")}, InvalidParameter),
    "no address": ({"addresses": AddressRequest(primary="nine")}, InvalidParameter),
    "root too small": ({"block_devices": (BlockDevice("/dev/sda1", size=1),)}, InvalidParameter),
    "root too large": ({"block_devices": (BlockDevice("/dev/sda1", size=70000),)}, InvalidParameter),
    "no such volume type": ({"block_devices": (BlockDevice("/dev/sda1", volume_type="gp9"),)}, InvalidParameter),
    "unknown behaviour": ({"shutdown_behavior": "explode"}, InvalidParameter),
    "unknown zone": ({"zone": "us-east-1z"}, InvalidParameter),
    "hop limit": ({"metadata": MetadataOptions(hop_limit=65)}, InvalidParameter),
}


@pytest.mark.parametrize(("changes", "error"), BAD_LAUNCHES.values(), ids=BAD_LAUNCHES.keys())
def test_bad_launches_are_refused_and_change_nothing(life, unchanged, changes, error):
    unchanged()
    with pytest.raises(error):
        life.launch(**changes)
    unchanged()


def test_another_tenants_resources_are_absent(life):
    for request in (
        {"subnet_id": life.world.other.subnet_ids[0]},
        {"group_ids": (life.world.other.group_id,)},
    ):
        with pytest.raises(NotFound):
            life.launch(**request)
    [instance_id] = life.launch()
    for call in (
        lambda tx: stop_instances(tx, life.world.other.caller, [instance_id], NOW),
        lambda tx: reboot_instances(tx, life.world.other.caller, [instance_id]),
        lambda tx: terminate_instances(tx, life.world.other.caller, [instance_id], NOW),
        lambda tx: start_instances(tx, life.world.other.caller, life.world.cloud, [instance_id], NOW),
    ):
        with pytest.raises(NotFound):
            life.run(call)


def test_protected_instances_are_not_ended(life):
    [instance_id] = life.launch(disable_api_termination=True, disable_api_stop=True)
    with pytest.raises(WrongState) as refused:
        life.run(terminate_instances, life.caller, [instance_id], NOW)
    assert refused.value.code == "OperationNotPermitted"
    with pytest.raises(WrongState):
        life.run(stop_instances, life.caller, [instance_id], NOW)


def test_a_requested_address_is_given_once(life):
    life.launch(addresses=AddressRequest(primary="172.31.0.77"))
    with pytest.raises(WrongState) as refused:
        life.launch(addresses=AddressRequest(primary="172.31.0.77"))
    assert refused.value.code == "InvalidIPAddress.InUse"


def test_a_full_subnet_is_said(life, world):
    from stead_controller.db.tables import Subnet

    life.run(lambda tx: setattr(tx.session.get_one(Subnet, world.one.subnet_ids[0]), "cidr_block", "172.31.0.0/28"))
    life.launch(11)
    with pytest.raises(LimitExceeded) as refused:
        life.launch()
    assert refused.value.code == "InsufficientFreeAddressesInSubnet"


ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(["launch", "running", "stop", "off", "guest off", "crash", "start", "terminate", "gone"]),
        st.integers(0, 5),
    ),
    max_size=25,
)


@settings(
    max_examples=examples(18),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(ACTIONS)
def test_room_is_what_the_living_take_and_no_address_is_given_twice(database, world, actions):
    from stead_controller.request.cloud import cloud_of
    from stead_controller.resources.operators import cloud_facts
    from stead_controller.settings import Settings

    database.run_blocking(lambda tx: cloud_facts.write(tx, cloud_of(Settings(state_dir=None))))
    life = Life(database, world)
    known = life.run(lambda tx: list(tx.session.scalars(select(Instance.id))))
    for action, number in actions:
        if action == "launch":
            known += life.launch()
        elif known:
            step(life, action, known[number % len(known)])
        check_invariants(life)


def step(life, action, instance_id):
    try:
        match action:
            case "running":
                life.is_running(instance_id)
            case "stop":
                life.run(stop_instances, life.caller, [instance_id], NOW)
            case "off":
                life.power(instance_id, pb.MACHINE_POWER_OFF, pb.OFF_REASON_ASKED)
            case "guest off":
                life.power(instance_id, pb.MACHINE_POWER_OFF, pb.OFF_REASON_GUEST)
            case "crash":
                life.power(instance_id, pb.MACHINE_POWER_OFF, pb.OFF_REASON_CRASHED)
            case "start":
                life.run(start_instances, life.caller, life.world.cloud, [instance_id], NOW)
            case "terminate":
                life.run(terminate_instances, life.caller, [instance_id], NOW)
            case "gone":
                life.is_absent(desired.KIND_MACHINE, instance_id)
    except WrongState:
        pass  # refused in this state: the invariants must hold all the same


def check_invariants(life):
    instances = life.run(lambda tx: list(tx.session.scalars(select(Instance))))
    held = [instance for instance in instances if instance.capacity_held]
    assert {instance.state for instance in held} <= {"pending", "running", "stopping", "shutting-down"}
    host = life.host()
    assert host.memory_reserved == sum(memory_of(instance.memory, instance.vcpus) for instance in held)
    assert host.cpus_reserved == sum(instance.vcpus for instance in held)
    assert host.memory_free >= 0
    usage = life.run(lambda tx: dict(tx.session.execute(select(AccountUsage.account_id, AccountUsage.value)).all()))
    for account_id in {instance.account_id for instance in instances}:
        mine = sum(instance.vcpus for instance in held if instance.account_id == account_id)
        assert usage.get(account_id, 0) == mine
    interfaces = life.run(lambda tx: list(tx.session.scalars(select(NetworkInterface))))
    living = {instance.id for instance in instances if instance.state != "terminated"}
    assert {interface.instance_id for interface in interfaces} == living
    addresses = [interface.private_address for interface in interfaces]
    assert len(set(addresses)) == len(addresses)
    public = [instance.public_address for instance in instances if instance.public_address]
    assert len(set(public)) == len(public)
    machines = life.run(
        lambda tx: set(
            tx.session.scalars(
                select(HostResource.resource_id).where(
                    HostResource.kind == desired.KIND_MACHINE, HostResource.body.is_not(None)
                )
            )
        )
    )
    assert machines == {i.id for i in instances if i.state not in ("shutting-down", "terminated")}


def test_instance_store_takes_room_from_start_to_stop(life):
    """75 GB of an m5d.large: at a launch and at each start, and no more once the instance is stopped or gone."""
    size = 75 * 1000**3
    life.run(lambda tx: tx.session.add(room_for_disks(life.world.host_id)))

    def taken():
        pool = life.run(lambda tx: tx.session.get_one(StoragePool, (life.world.host_id, "default")))
        return pool.provisioned - 2 * GIB  # its root volume

    [instance_id] = life.launch(instance_type="m5d.large")
    assert taken() == size
    life.is_running(instance_id)
    life.run(stop_instances, life.caller, [instance_id], NOW)
    assert taken() == size
    life.power(instance_id, pb.MACHINE_POWER_OFF, pb.OFF_REASON_ASKED)
    assert (life.instance(instance_id).state, taken()) == ("stopped", 0)
    life.run(start_instances, life.caller, life.world.cloud, [instance_id], NOW)
    assert taken() == size
    life.is_running(instance_id)
    life.run(terminate_instances, life.caller, [instance_id], NOW)
    life.is_absent(desired.KIND_MACHINE, instance_id)
    assert (life.instance(instance_id).state, taken()) == ("terminated", 0)


def test_where_there_is_no_room_for_its_instance_store_nothing_is_launched(life, unchanged):
    life.run(lambda tx: tx.session.add(room_for_disks(life.world.host_id, total=10 * GIB)))
    unchanged()
    with pytest.raises(NoCapacity, match="instance store"):
        life.launch(instance_type="m5d.large")
    unchanged()


def room_for_disks(host_id, total=1000 * GIB):
    return StoragePool(host_id=host_id, name="default", backend="directory", is_default=True, total=total, free=0)
