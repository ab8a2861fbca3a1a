"""Descriptions of EC2 become facts by name."""

from typing import Any

from tests.recovery.storm.observed import NOTE, TAG, facts_of


def tagged(name: str) -> list[dict[str, str]]:
    return [{"Key": "Name", "Value": "somebody's"}, {"Key": TAG, "Value": name}, {"Key": NOTE, "Value": "7"}]


def described(**kinds: list[dict[str, Any]]) -> dict[str, Any]:
    return {**{kind: [] for kind in ("instances", "volumes", "snapshots", "images", "addresses", "groups")}, **kinds}


def instance(state: str) -> dict[str, Any]:
    return {
        "InstanceId": "i-1",
        "State": {"Name": state},
        "PrivateIpAddress": "172.31.0.4",
        "SecurityGroups": [{"GroupId": "sg-2"}, {"GroupId": "sg-1"}],
        "Tags": tagged("instance-1"),
    }


def volume(state: str, name: str, attachment: str = "") -> dict[str, Any]:
    attachments = [{"State": attachment, "InstanceId": "i-1"}] if attachment else []
    return {"Size": 1, "VolumeId": "vol-1", "State": state, "Attachments": attachments, "Tags": tagged(name)}


def test_an_instance_has_its_disk() -> None:
    found = facts_of(
        described(instances=[instance("running")], volumes=[volume("in-use", "instance-1/disk", "attached")])
    )
    assert found == {
        "instance-1": {
            "id": "i-1",
            "state": "running",
            "private": "172.31.0.4",
            "groups": "sg-1 sg-2",
            "parts": "1 in-use",
        }
    }


def test_a_terminated_instance_is_gone_but_not_a_disk_that_it_left() -> None:
    assert facts_of(described(instances=[instance("terminated")])) == {}
    left = facts_of(described(instances=[instance("terminated")], volumes=[volume("available", "instance-1/disk")]))
    assert left == {"instance-1": {"parts": "1 available"}}


def test_a_volume_is_in_no_final_state_while_it_is_attached_or_detached() -> None:
    for attachment in ("attaching", "detaching", "busy"):
        found = facts_of(described(instances=[instance("running")], volumes=[volume("in-use", "volume-1", attachment)]))
        assert found["volume-1"]["state"] == attachment
    found = facts_of(described(instances=[instance("running")], volumes=[volume("in-use", "volume-1", "attached")]))
    assert (found["volume-1"]["state"], found["volume-1"]["attached"]) == ("in-use", "instance-1")
    found = facts_of(described(volumes=[volume("available", "volume-1")]))
    assert found["volume-1"] == {"id": "vol-1", "state": "available", "size": "1", "attached": "", "note": "7"}


def test_an_image_has_its_snapshots() -> None:
    snapshots = [
        {"SnapshotId": f"snap-{state}", "State": state, "VolumeSize": 1, "Tags": tagged("image-1/snapshot")}
        for state in ("completed", "pending", "completed")
    ]
    images = [{"ImageId": "ami-1", "State": "available", "Tags": tagged("image-1")}]
    found = facts_of(described(images=images, snapshots=snapshots))
    assert found == {"image-1": {"id": "ami-1", "state": "available", "parts": "2 completed 1 pending"}}


def test_a_resource_without_a_name_is_seen() -> None:
    unnamed = {**volume("available", ""), "Tags": []}
    assert list(facts_of(described(volumes=[unnamed]))) == ["unnamed vol-1"]


def test_rules_and_addresses() -> None:
    rule = {"IpProtocol": "tcp", "FromPort": 5, "ToPort": 5, "IpRanges": [{"CidrIp": "10.1.0.0/16"}]}
    groups = [
        {"GroupId": "sg-1", "GroupName": "group-1", "IpPermissions": [rule]},
        {"GroupId": "sg-0", "GroupName": "default", "IpPermissions": [rule]},
    ]
    address = {"AllocationId": "eipalloc-1", "PublicIp": "198.51.100.7", "Tags": tagged("address-1")}
    found = facts_of(described(groups=groups, addresses=[address]))
    assert found["group-1"] == {"id": "sg-1", "rules": "tcp:5:10.1.0.0/16"}
    assert found["address-1"] == {"id": "eipalloc-1", "address": "198.51.100.7", "association": "", "attached": ""}
    assert "default" not in found
