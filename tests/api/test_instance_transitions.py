"""What each request does to an instance in each state: its next state, or EC2's code; and what a repetition does."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from botocore.exceptions import ClientError
from sqlalchemy import func, select

from stead_controller.db.tables import Instance
from stead_controller.resources.instances.instance_states import STATE_CODES

STATES: Final = tuple(STATE_CODES)
WRONG: Final = "IncorrectInstanceState"
BUSY: Final = "IncorrectState"

# By request: for pending, running, shutting-down, terminated, stopping and stopped, in the order of EC2's state codes.
ROWS: Final = {
    ("start_instances",): ("pending", "running", WRONG, WRONG, WRONG, "pending"),
    ("stop_instances",): (WRONG, "stopping", WRONG, WRONG, "stopping", "stopped"),
    ("stop_instances", "Force"): (WRONG, "stopping", WRONG, WRONG, "stopping", "stopped"),
    ("stop_instances", "SkipOsShutdown"): (WRONG, "stopping", WRONG, WRONG, "stopping", "stopped"),
    ("reboot_instances",): ("pending", "running", WRONG, WRONG, WRONG, WRONG),
    ("terminate_instances",): ("shutting-down",) * 3 + ("terminated", "shutting-down", "shutting-down"),
    ("terminate_instances", "Force"): ("shutting-down",) * 3 + ("terminated", "shutting-down", "shutting-down"),
    ("monitor_instances",): ("pending", "running", WRONG, WRONG, "stopping", "stopped"),
    ("unmonitor_instances",): ("pending", "running", WRONG, WRONG, "stopping", "stopped"),
}
ALIVE: Final = ("pending", "running", WRONG, WRONG, "stopping", "stopped")
STOPPED: Final = (WRONG, WRONG, WRONG, WRONG, WRONG, "stopped")
ATTRIBUTES: Final[dict[str, tuple[tuple[str, ...], Any]]] = {
    "BlockDeviceMappings": (ALIVE, [{"DeviceName": "/dev/sda1", "Ebs": {"DeleteOnTermination": False}}]),
    "DisableApiStop": (ALIVE, {"Value": True}),
    "DisableApiTermination": (ALIVE, {"Value": True}),
    "EbsOptimized": (STOPPED, {"Value": True}),
    "InstanceInitiatedShutdownBehavior": (ALIVE, {"Value": "terminate"}),
    "InstanceType": (STOPPED, {"Value": "m5.large"}),
    "SourceDestCheck": (ALIVE, {"Value": False}),
    "UserData": (STOPPED, {"Value": b"x"}),
}


def in_state(api: Any, state: str) -> str:
    """Add an instance in a state."""
    held = state not in ("stopped", "terminated")
    number = api.run(lambda tx: tx.session.scalar(select(func.count()).select_from(Instance)))
    return str(api.launch(state=state, number=200 + number, capacity_held=held))


def state_of(api: Any, instance_id: str) -> str:
    return str(api.run(lambda tx: tx.session.get_one(Instance, instance_id).state))


def does(api: Any, expected: tuple[str, ...], name: str, **params: Any) -> None:
    """Check what a request makes of an instance in each state; it is repeated where it was accepted."""
    call = getattr(api.ec2, name)
    key = "InstanceIds" if name.endswith("_instances") else "InstanceId"
    for state, outcome in zip(STATES, expected, strict=True):
        instance_id = in_state(api, state)
        asked = {key: [instance_id] if key == "InstanceIds" else instance_id, **params}
        if outcome in STATES:
            call(**asked)
            assert state_of(api, instance_id) == outcome, (name, state)
        else:
            api.refused(outcome, call, **asked)
            assert state_of(api, instance_id) == state


def test_requests_for_a_state(api: Any) -> None:
    for (name, *flags), expected in ROWS.items():
        does(api, expected, name, **dict.fromkeys(flags, True))


def test_attributes_that_each_state_allows(api: Any) -> None:
    modify = "modify_instance_attribute"
    for attribute, (expected, value) in ATTRIBUTES.items():
        does(api, expected, modify, **{attribute: value})
    does(api, ALIVE, modify, Groups=[api.world.one.group_id])
    does(api, ALIVE, "modify_instance_metadata_options", HttpTokens="required")
    does(api, ALIVE, "modify_instance_maintenance_options", AutoRecovery="disabled")
    does(api, STOPPED, "modify_instance_cpu_options", CoreCount=1, ThreadsPerCore=1)


def test_where_volumes_and_interfaces_can_be_attached(api: Any) -> None:
    create_volume, create_interface = api.ec2.create_volume, api.ec2.create_network_interface
    for state in STATES:
        instance_id = in_state(api, state)
        volume_id = create_volume(AvailabilityZone="us-east-1a", Size=1)["VolumeId"]
        made = create_interface(SubnetId=api.world.one.subnet_ids[0])["NetworkInterface"]["NetworkInterfaceId"]
        attach = {"VolumeId": volume_id, "InstanceId": instance_id, "Device": "/dev/sdf"}
        plug = {"NetworkInterfaceId": made, "InstanceId": instance_id, "DeviceIndex": 1}
        if state in ("running", "stopped"):
            assert api.ec2.attach_volume(**attach)["State"] == "attaching"
            assert api.ec2.attach_network_interface(**plug)["AttachmentId"]
        else:
            api.refused(BUSY, api.ec2.attach_volume, **attach)
            api.refused(BUSY, api.ec2.attach_network_interface, **plug)


def test_one_that_may_not_changes_none_of_the_others(api: Any) -> None:
    running, terminated = in_state(api, "running"), in_state(api, "terminated")
    for name in ("start_instances", "stop_instances", "reboot_instances", "monitor_instances"):
        api.refused(WRONG, getattr(api.ec2, name), InstanceIds=[running, terminated])


def test_protections_hold_in_each_state(api: Any) -> None:
    """Stop protection forbids termination, too; termination protection forbids no stop."""
    for state in ("pending", "running", "stopping", "stopped"):
        one = in_state(api, state)
        api.ec2.modify_instance_attribute(InstanceId=one, DisableApiTermination={"Value": True})
        for params in ({}, {"Force": True}, {"SkipOsShutdown": True}):
            api.refused("OperationNotPermitted", api.ec2.terminate_instances, InstanceIds=[one], **params)
        if state == "running":
            api.ec2.stop_instances(InstanceIds=[one])
            assert state_of(api, one) == "stopping"
        if state in ("pending", "running"):
            other = in_state(api, state)
            api.ec2.modify_instance_attribute(InstanceId=other, DisableApiStop={"Value": True})
            for params in ({}, {"Force": True}):
                api.refused("OperationNotPermitted", api.ec2.stop_instances, InstanceIds=[other], **params)
                api.refused("OperationNotPermitted", api.ec2.terminate_instances, InstanceIds=[other], **params)
            api.ec2.modify_instance_attribute(InstanceId=other, DisableApiStop={"Value": False})
            api.ec2.terminate_instances(InstanceIds=[other])
            assert state_of(api, other) == "shutting-down"


def test_requests_at_the_same_time_end_in_a_state_that_one_of_them_made(api: Any) -> None:
    """Stops, starts, reboots and one termination of one instance from several threads: the termination remains."""
    instance_id = in_state(api, "running")

    def ask(name: str) -> str:
        try:
            getattr(api.ec2, name)(InstanceIds=[instance_id])
        except ClientError as error:
            return str(error.response["Error"]["Code"])
        return ""

    names = ["stop_instances", "start_instances", "reboot_instances", "terminate_instances"] * 4
    with ThreadPoolExecutor(4) as pool:
        codes = set(pool.map(ask, names))
    assert codes <= {"", WRONG}
    assert state_of(api, instance_id) == "shutting-down"
    found = api.run(lambda tx: tx.session.get_one(Instance, instance_id))
    assert found.start_count == 1  # a start of an instance that stops is refused
    assert found.reboot_count <= names.count("reboot_instances")
