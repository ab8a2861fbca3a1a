"""The parameters of a launch."""

from dataclasses import replace

from stead_controller.resources.instances.launch_interfaces import InterfaceRequest
from stead_controller.resources.instances.launch_request import LaunchRequest
from stead_controller.resources.network.network_interface_life import AddressRequest


def test_a_launch_asks_for_its_interfaces_or_for_the_only_one():
    addresses = AddressRequest(secondary_count=1)
    request = {"subnet_id": "subnet-1", "group_ids": ("sg-1",), "group_names": ("web",), "addresses": addresses}
    asked = LaunchRequest("ami-1", "t3.micro", 1, 1, **request)
    assert asked.interface_requests == (InterfaceRequest(**request),)
    several = (InterfaceRequest(1), InterfaceRequest(0))
    assert replace(asked, interfaces=several).interface_requests == several
