"""What an account has, as the AWS API describes it, becomes facts by the names that the storm gave to its resources."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from tests.recovery.storm.model import Facts

if TYPE_CHECKING:
    from mypy_boto3_ec2.client import EC2Client

TAG: Final = "storm"  # its value is the name of the resource
NOTE: Final = "note"  # another tag, which is changed now and then


def take(ec2: "EC2Client") -> dict[str, Facts]:
    """Describe everything: two pages of anything would be an error of the storm."""
    reservations = ec2.describe_instances(MaxResults=1000)["Reservations"]
    return facts_of(
        {
            "instances": [instance for each in reservations for instance in each["Instances"]],
            "volumes": ec2.describe_volumes(MaxResults=500)["Volumes"],
            "snapshots": ec2.describe_snapshots(OwnerIds=["self"], MaxResults=1000)["Snapshots"],
            "images": ec2.describe_images(Owners=["self"])["Images"],
            "addresses": ec2.describe_addresses()["Addresses"],
            "groups": ec2.describe_security_groups()["SecurityGroups"],
        }
    )


def facts_of(described: Mapping[str, Iterable[Any]]) -> dict[str, Facts]:
    """Facts by names; disks and snapshots that came with an instance or an image, and have its name, are facts of that."""
    instances = list(described["instances"])
    names = {each["InstanceId"]: name_of(each) for each in instances}
    found_facts: list[tuple[str, Facts]] = [
        *((name_of(each), _instance(each)) for each in instances if each["State"]["Name"] != "terminated"),
        *((name_of(each), _volume(each, names)) for each in described["volumes"]),
        *((name_of(each), _snapshot(each)) for each in described["snapshots"]),
        *((name_of(each), {"id": each["ImageId"], "state": each["State"]}) for each in described["images"]),
        *((name_of(each), _address(each, names)) for each in described["addresses"]),
        *((each["GroupName"], _group(each)) for each in described["groups"] if each["GroupName"] != "default"),
    ]
    found: dict[str, Facts] = {}
    parts: dict[str, Counter[str]] = {}
    for name, facts in found_facts:
        owner = name.partition("/")[0]
        if owner == name:
            assert name not in found, f"two resources are named {name}: {found[name]}, {facts}"
            found[name] = facts
        else:
            parts.setdefault(owner, Counter())[facts["state"]] += 1
    for owner, states in parts.items():
        shown = " ".join(f"{count} {state}" for state, count in sorted(states.items()))
        found[owner] = {**found.get(owner, {}), "parts": shown}
    return found


def name_of(described: Mapping[str, Any]) -> str:
    """The name that the storm gave to a resource; of one without, what EC2 calls it."""
    named = [tag["Value"] for tag in described.get("Tags", ()) if tag["Key"] == TAG]
    return str(named[0]) if named else f"unnamed {next(each for key, each in described.items() if key.endswith('Id'))}"


def _note(described: Mapping[str, Any]) -> str:
    return next((str(tag["Value"]) for tag in described.get("Tags", ()) if tag["Key"] == NOTE), "")


def _instance(described: Mapping[str, Any]) -> Facts:
    return {
        "id": described["InstanceId"],
        "state": described["State"]["Name"],
        "private": described.get("PrivateIpAddress", ""),
        "groups": " ".join(sorted(group["GroupId"] for group in described["SecurityGroups"])),
    }


def _volume(described: Mapping[str, Any], names: Mapping[str, str]) -> Facts:
    (attachment,) = described["Attachments"] or [{"State": "detached", "InstanceId": ""}]
    state = described["State"] if attachment["State"] in ("attached", "detached") else attachment["State"]
    return {
        "id": described["VolumeId"],
        "state": state,
        "size": str(described["Size"]),
        "attached": _named(attachment["InstanceId"], names),
        "note": _note(described),
    }


def _snapshot(described: Mapping[str, Any]) -> Facts:
    return {"id": described["SnapshotId"], "state": described["State"], "size": str(described["VolumeSize"])}


def _address(described: Mapping[str, Any], names: Mapping[str, str]) -> Facts:
    return {
        "id": described["AllocationId"],
        "address": described["PublicIp"],
        "association": described.get("AssociationId", ""),
        "attached": _named(described.get("InstanceId", ""), names),
    }


def _named(instance_id: str, names: Mapping[str, str]) -> str:
    return names.get(instance_id, instance_id)


def _group(described: Mapping[str, Any]) -> Facts:
    rules = [
        f"{rule['IpProtocol']}:{rule['FromPort']}:{block['CidrIp']}"
        for rule in described["IpPermissions"]
        for block in rule["IpRanges"]
    ]
    return {"id": described["GroupId"], "rules": " ".join(sorted(rules))}
