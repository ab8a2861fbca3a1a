"""ConnectionTrackingSpecification of network interfaces: taken, shown, changed, refused, and what hosts are sent."""

from typing import Any

import pytest

from stead_proto.v1 import desired_pb2
from tests.api.conftest import Api
from tests.api.test_network_interfaces import create, sent, shown
from tests.api.test_run_instances import run

CHOSEN = {"TcpEstablishedTimeout": 350, "UdpTimeout": 45, "UdpStreamTimeout": 90}


def on_host(api: Api, interface_id: str) -> tuple[int, int, int]:
    """The timeouts that the world's host is sent: of TCP, UDP and UDP streams."""
    resource = sent(api, desired_pb2.KIND_INTERFACE, interface_id)
    assert resource is not None
    shown = resource.interface
    return shown.tcp_established_timeout, shown.udp_timeout, shown.udp_stream_timeout


def described(api: Api, interface_id: str) -> Any:
    return shown(api, interface_id).get("ConnectionTrackingConfiguration")


def test_of_a_launch(api: Api) -> None:
    asked = {"DeviceIndex": 0, "SubnetId": api.world.one.subnet_ids[0], "ConnectionTrackingSpecification": CHOSEN}
    (instance,) = run(api, NetworkInterfaces=[asked])["Instances"]
    (interface,) = instance["NetworkInterfaces"]
    assert interface["ConnectionTrackingConfiguration"] == CHOSEN
    interface_id = interface["NetworkInterfaceId"]
    assert described(api, interface_id) == CHOSEN
    assert on_host(api, interface_id) == (350, 45, 90)

    change = {"UdpTimeout": 60}
    api.ec2.modify_network_interface_attribute(NetworkInterfaceId=interface_id, ConnectionTrackingSpecification=change)
    assert described(api, interface_id) == CHOSEN | change  # what is not named stays
    assert on_host(api, interface_id) == (350, 60, 90)


def test_nothing_is_shown_where_nothing_was_chosen(api: Api) -> None:
    (instance,) = run(api)["Instances"]
    (interface,) = instance["NetworkInterfaces"]
    assert "ConnectionTrackingConfiguration" not in interface
    assert described(api, interface["NetworkInterfaceId"]) is None
    assert on_host(api, interface["NetworkInterfaceId"]) == (0, 0, 0)


def test_of_an_interface_by_itself(api: Api) -> None:
    made = create(api, ConnectionTrackingSpecification={"UdpStreamTimeout": 60})
    assert made["ConnectionTrackingConfiguration"] == {"UdpStreamTimeout": 60}
    assert described(api, made["NetworkInterfaceId"]) == {"UdpStreamTimeout": 60}


@pytest.mark.parametrize(
    ("name", "least", "most"),
    [("TcpEstablishedTimeout", 60, 432_000), ("UdpTimeout", 30, 60), ("UdpStreamTimeout", 60, 180)],
)
def test_what_is_out_of_range_changes_nothing(api: Api, name: str, least: int, most: int) -> None:
    interface_id = create(api)["NetworkInterfaceId"]
    modify = api.ec2.modify_network_interface_attribute
    subnet = api.world.one.subnet_ids[0]
    for seconds in (least, most):
        modify(NetworkInterfaceId=interface_id, ConnectionTrackingSpecification={name: seconds})
        assert described(api, interface_id) == {name: seconds}
    before = len(api.ec2.describe_network_interfaces()["NetworkInterfaces"])
    for seconds in (least - 1, most + 1, 0, -1):
        bad = {"ConnectionTrackingSpecification": {name: seconds}}
        api.refused("InvalidParameterValue", modify, NetworkInterfaceId=interface_id, **bad)
        api.refused("InvalidParameterValue", api.ec2.create_network_interface, SubnetId=subnet, **bad)
        api.refused(
            "InvalidParameterValue",
            lambda **asked: run(api, **asked),
            NetworkInterfaces=[{"DeviceIndex": 0, "SubnetId": subnet, **bad}],
        )
    assert described(api, interface_id) == {name: most}
    assert len(api.ec2.describe_network_interfaces()["NetworkInterfaces"]) == before


def test_an_interface_that_exists_has_its_own(api: Api) -> None:
    """A launch may take it, and not say otherwise about it."""
    interface_id = create(api, ConnectionTrackingSpecification=CHOSEN)["NetworkInterfaceId"]
    asked = {"DeviceIndex": 0, "NetworkInterfaceId": interface_id}
    api.refused(
        "InvalidParameterCombination",
        lambda **given: run(api, **given),
        NetworkInterfaces=[asked | {"ConnectionTrackingSpecification": CHOSEN}],
    )
    run(api, NetworkInterfaces=[asked])
    assert on_host(api, interface_id) == (350, 45, 90)
