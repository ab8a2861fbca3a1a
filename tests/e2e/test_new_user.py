"""A new user's afternoon with boto3: two machines with tags and user data, a look inside, a stop and a start, the end."""

import gzip
import hashlib
import json
import re

from tests.support import leaks
from tests.support.real_cloud import User, qemu_process_of
from tests.support.waiting import wait_for

USER_DATA = """#!/bin/sh
echo "number one of $(hostname)" >/var/tmp/word
"""

# Inside the guest: a token, then the paths asked for, as AWS's documentation shows it for IMDSv2.
IMDS = "IMDS_TOKEN=$(imds token) && export IMDS_TOKEN && imds get {path}"


def test_two_instances_from_launch_to_terminate(user: User) -> None:
    before = leaks.take_inventory()
    made = user.run(
        2,
        InstanceType="t3.nano",
        UserData=USER_DATA,
        TagSpecifications=[{"ResourceType": "instance", "Tags": [{"Key": "role", "Value": "web"}]}],
    )
    assert len(set(made)) == 2

    # One of them gets a tag of its own, and is found by it.
    user.ec2.create_tags(Resources=[made[1]], Tags=[{"Key": "colour", "Value": "blue"}])
    found = user.ec2.describe_instances(
        Filters=[{"Name": "tag:colour", "Values": ["blue"]}, {"Name": "instance-state-name", "Values": ["running"]}]
    )
    assert [instance["InstanceId"] for each in found["Reservations"] for instance in each["Instances"]] == [made[1]]
    by_role = user.ec2.describe_instances(Filters=[{"Name": "tag:role", "Values": ["web"]}])
    assert {instance["InstanceId"] for each in by_role["Reservations"] for instance in each["Instances"]} == set(made)

    seen = [_look_inside(user, instance_id) for instance_id in made]
    assert len({hostname for hostname, _ in seen}) == 2
    assert len({address for _, address in seen}) == 2

    _stop_and_start(user, made[0])

    user.terminate(made)
    assert all(user.state(instance_id) == "terminated" for instance_id in made)
    assert not any(qemu_process_of(instance_id) for instance_id in made)
    leaks.assert_nothing_beyond(before, "two terminated instances")


def _look_inside(user: User, instance_id: str) -> tuple[str, str]:
    """Log in by the public address; return host name and address after all that the guest says of itself is right."""
    shown = user.describe(instance_id)
    login = user.connect(instance_id)
    hostname = login.run("hostname").strip()
    assert shown["PrivateDnsName"].split(".")[0] == hostname
    word = wait_for(lambda: login.run("cat /var/tmp/word 2>/dev/null || true").strip(), "user data ran", 30)
    assert word == f"number one of {hostname}"

    identity = json.loads(login.run(IMDS.format(path="dynamic/instance-identity/document")))
    assert identity["instanceId"] == instance_id
    assert identity["accountId"] == user.account.account_id
    assert identity["privateIp"] == shown["PrivateIpAddress"]
    assert identity["imageId"] == shown["ImageId"]
    assert identity["instanceType"] == "t3.nano"
    assert identity["region"] == "us-east-1"
    assert identity["availabilityZone"] == "us-east-1a"
    assert login.run(IMDS.format(path="meta-data/public-ipv4")).strip() == shown["PublicIpAddress"]
    assert login.run(IMDS.format(path="meta-data/local-ipv4")).strip() == shown["PrivateIpAddress"]
    assert login.run(IMDS.format(path="user-data")) == USER_DATA
    return hostname, shown["PublicIpAddress"]


def _stop_and_start(user: User, instance_id: str) -> None:
    """Stop and start one: the private address and the disk stay, the public address is another one, as in EC2.

    While it is off it is given other user data, which it reads byte for byte.
    """
    before = user.describe(instance_id)
    user.ec2.stop_instances(InstanceIds=[instance_id])
    user.wait("instance_stopped", [instance_id])
    stopped = user.describe(instance_id)
    assert stopped.get("PublicIpAddress", "") == ""
    assert stopped["PrivateIpAddress"] == before["PrivateIpAddress"]
    assert re.match(r"Client\.UserInitiatedShutdown", stopped["StateReason"]["Code"])
    assert qemu_process_of(instance_id) is None

    packed = gzip.compress(b"#!/bin/sh\n") + bytes(range(256))
    user.ec2.modify_instance_attribute(InstanceId=instance_id, UserData={"Value": packed})
    user.ec2.start_instances(InstanceIds=[instance_id])
    user.wait("instance_running", [instance_id])
    after = user.describe(instance_id)
    assert after["PrivateIpAddress"] == before["PrivateIpAddress"]
    assert after["PublicIpAddress"] not in {"", before["PublicIpAddress"]}
    login = user.connect(instance_id)
    assert login.run("cat /var/tmp/word").startswith("number one of")
    assert login.run("imds get user-data | sha256sum").split()[0] == hashlib.sha256(packed).hexdigest()
