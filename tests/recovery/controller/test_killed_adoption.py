"""The controller is killed at each step of adoptions and removals of what its older database does not know.

At any time an instance is known with all that it has, or not at all; in the end nothing is left of it.
"""

import shutil
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from stead_cli.errors import CliError
from tests.recovery.controller.test_killed_at_each_step import Client, die_from_now_on
from tests.support.cloud import Cloud
from tests.support.remains import nothing_remains
from tests.support.waiting import wait_for

PATIENCE = 60.0


def test_all_of_an_instance_is_adopted_or_nothing(own_cloud: Callable[..., Cloud]) -> None:
    cloud = own_cloud(hosts=2)
    image_id = cloud.add_image()
    account = cloud.new_account()
    deaths = cloud.folder / "deaths"
    copy = cloud.folder / "copy"
    cloud.controller.stop()
    shutil.copytree(cloud.settings.controller_dir, copy)
    cloud.start_controller()
    ec2 = account.client("ec2", connect_timeout=2)
    first, second = (_launch(ec2, image_id) for _ in range(2))

    cloud.controller.kill()
    shutil.rmtree(cloud.settings.controller_dir)
    shutil.copytree(copy, cloud.settings.controller_dir)
    immortal = cloud.controller
    die_from_now_on(cloud, deaths)
    client = Client(cloud, ec2)
    wait_for(lambda: {first, second} <= set(_unclaimed(cloud)), "hosts say what they keep", PATIENCE)
    _ask(cloud, lambda: cloud.operator.adopt_unclaimed(first), lambda: _is_known(client, first))
    _ask(cloud, lambda: cloud.operator.remove_unclaimed([second]), lambda: second not in _unclaimed(cloud))
    wait_for(lambda: _unclaimed(cloud) == [], "nothing is unclaimed any more", PATIENCE)
    assert _is_known(client, first)
    client.wait(lambda: client.is_in("running"), "it runs")
    cloud.controller.stop()  # of each step of an end dies the controller of test_killed_at_each_step.py
    cloud.controller = replace(immortal, process=None)
    cloud.start_controller()
    client.ask("terminate_instances", InstanceIds=[first])
    client.wait(lambda: client.is_in("terminated"), "it is terminated")
    nothing_remains(cloud)
    died_of = deaths.read_text(encoding="ascii").splitlines()
    for side in ("before", "after"):
        assert [name for name in died_of if name.startswith(side) and "insert:instances" in name], died_of


def _launch(ec2: Any, image_id: str) -> str:
    """Launch an instance with a further volume, and wait until it runs."""
    disk = {"DeviceName": "/dev/sdf", "Ebs": {"VolumeSize": 1, "DeleteOnTermination": True}}
    made = ec2.run_instances(
        ImageId=image_id, InstanceType="t3.micro", MinCount=1, MaxCount=1, BlockDeviceMappings=[disk]
    )
    instance_id = str(made["Instances"][0]["InstanceId"])
    ec2.get_waiter("instance_running").wait(InstanceIds=[instance_id], WaiterConfig={"Delay": 1})
    return instance_id


def _unclaimed(cloud: Cloud) -> list[str]:
    """List what is unclaimed, once a controller answers."""
    while True:
        try:
            return [each.id for each in cloud.operator.list_unclaimed()]
        except CliError:
            wait_for(cloud.answers, "a controller answers again", PATIENCE)


def _ask(cloud: Cloud, call: Callable[[], object], done: Callable[[], bool]) -> None:
    """Call until it is done; a call that was not answered may have been."""
    while not done():
        try:
            call()
        except CliError:
            wait_for(cloud.answers, "a controller answers again", PATIENCE)


def _is_known(client: Client, instance_id: str) -> bool:
    """Tell whether the API knows the instance; then it knows its interface and both of its volumes, else none."""
    found = [each for group in client.ask("describe_instances")["Reservations"] for each in group["Instances"]]
    volumes = client.ask("describe_volumes")["Volumes"]
    interfaces = client.ask("describe_network_interfaces")["NetworkInterfaces"]
    again = [each for group in client.ask("describe_instances")["Reservations"] for each in group["Instances"]]
    if len(found) == len(again):
        assert (len(found), len(volumes), len(interfaces)) in {(0, 0, 0), (1, 2, 1)}
    return [each["InstanceId"] for each in again] == [instance_id]
