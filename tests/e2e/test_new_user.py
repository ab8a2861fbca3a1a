"""A new user's afternoon with `aws` and boto3: two machines with tags and user data, a look inside, other addresses, the end."""

import json
from pathlib import Path

from stead_cli import ssh
from tests.support import leaks
from tests.support.real_cloud import User, qemu_process_of
from tests.support.waiting import wait_for

USER_DATA = """#!/bin/sh
echo "number one of $(hostname)" >/var/tmp/word
"""

# Asked inside the guest by a token, as AWS's documentation shows it for IMDSv2.
PATHS = (
    "dynamic/instance-identity/document",
    "meta-data/public-ipv4",
    "meta-data/local-ipv4",
    "user-data",
)
END = "\n=-=\n"


def test_two_instances_from_launch_to_terminate(user: User, tmp_path: Path) -> None:
    before = leaks.take_inventory()
    made = _launch_two(user, tmp_path / "user-data")
    assert len(set(made)) == 2

    # One of them gets a tag of its own, and is found by it.
    user.ec2.create_tags(Resources=[made[1]], Tags=[{"Key": "colour", "Value": "blue"}])
    found = user.ec2.describe_instances(
        Filters=[{"Name": "tag:colour", "Values": ["blue"]}, {"Name": "instance-state-name", "Values": ["running"]}]
    )
    assert [instance["InstanceId"] for each in found["Reservations"] for instance in each["Instances"]] == [made[1]]
    by_role = user.account.aws("ec2", "describe-instances", "--filters", "Name=tag:role,Values=web")["Reservations"]
    assert {instance["InstanceId"] for each in by_role for instance in each["Instances"]} == set(made)

    seen = [_look_inside(user, instance_id) for instance_id in made]
    assert len({hostname for hostname, _ in seen}) == 2
    assert len({address for _, address in seen}) == 2

    _is_reached_at_its_elastic_address_and_no_longer_at_the_automatic_one(user, made[1])
    user.terminate(made[1:])

    aws = user.account.aws
    aws("ec2", "reboot-instances", "--instance-ids", made[0])
    [ending] = aws("ec2", "terminate-instances", "--instance-ids", made[0])["TerminatingInstances"]
    assert ending["CurrentState"]["Name"] in {"shutting-down", "terminated"}
    user.wait("instance_terminated", made)
    assert all(user.state(instance_id) == "terminated" for instance_id in made)
    wait_for(lambda: not any(qemu_process_of(instance_id) for instance_id in made), "their processes are gone", 10)
    leaks.assert_nothing_beyond(before, "two terminated instances")


def _launch_two(user: User, user_data: Path) -> list[str]:
    """Launch them by the `aws` command, and wait until they run."""
    aws = user.account.aws
    assert aws("sts", "get-caller-identity")["Account"] == user.account.account_id
    user_data.write_text(USER_DATA)
    found = aws("ec2", "describe-images", "--owners", "amazon", "--filters", "Name=name,Values=stead-micro-*")["Images"]
    launched = aws(
        "ec2", "run-instances", "--image-id", found[0]["ImageId"], "--instance-type", "t2.nano", "--count", "2",
        "--key-name", user.key_name, "--user-data", f"file://{user_data}",
        "--tag-specifications", "ResourceType=instance,Tags=[{Key=role,Value=web}]",
    )["Instances"]  # fmt: skip
    assert {instance["State"]["Name"] for instance in launched} == {"pending"}
    made = [instance["InstanceId"] for instance in launched]
    user.wait("instance_running", made)
    return made


def _is_reached_at_its_elastic_address_and_no_longer_at_the_automatic_one(user: User, instance_id: str) -> None:
    before = user.describe(instance_id)["PublicIpAddress"]
    elastic = user.ec2.allocate_address()
    association = user.ec2.associate_address(AllocationId=elastic["AllocationId"], InstanceId=instance_id)
    assert user.describe(instance_id)["PublicIpAddress"] == elastic["PublicIp"] != before
    machine = user.login(instance_id)
    assert machine.address == elastic["PublicIp"]
    assert not ssh.answers(before)
    user.ec2.disassociate_address(AssociationId=association["AssociationId"])
    wait_for(lambda: not ssh.answers(elastic["PublicIp"]), "the Elastic IP address is nobody's")
    user.ec2.release_address(AllocationId=elastic["AllocationId"])


def _look_inside(user: User, instance_id: str) -> tuple[str, str]:
    """Log in by the public address; return host name and address after all that the guest says of itself is right."""
    shown = user.describe(instance_id)
    login = user.connect(instance_id)
    output = user.account.aws("ec2", "get-console-output", "--instance-id", instance_id, "--latest")["Output"]
    assert "BEGIN SSH HOST KEY KEYS" in output
    hostname = login.run("hostname").strip()
    assert shown["PrivateDnsName"].split(".")[0] == hostname
    word = wait_for(lambda: login.run("cat /var/tmp/word 2>/dev/null || true").strip(), "user data ran", 30)
    assert word == f"number one of {hostname}"

    # All by one command: each that is run in an emulated guest costs it some milliseconds.
    asked = "; ".join(f"imds get {path} && echo && echo =-=" for path in PATHS)
    read = login.run(f"IMDS_TOKEN=$(imds token) && export IMDS_TOKEN; {asked}").split(END)
    document, public_address, private_address, user_data, _ = read
    identity = json.loads(document)
    assert identity["instanceId"] == instance_id
    assert identity["accountId"] == user.account.account_id
    assert identity["privateIp"] == shown["PrivateIpAddress"]
    assert identity["imageId"] == shown["ImageId"]
    assert identity["instanceType"] == "t2.nano"
    assert identity["region"] == "us-east-1"
    assert identity["availabilityZone"] == "us-east-1a"
    assert public_address == shown["PublicIpAddress"]
    assert private_address == shown["PrivateIpAddress"]
    assert user_data == USER_DATA
    return hostname, shown["PublicIpAddress"]
