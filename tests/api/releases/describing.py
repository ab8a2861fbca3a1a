"""What a cloud says of all that an account has, call by call: the same questions to any release."""

import json
from typing import Any

BLOCKS = {0: b"first" * 104857 + bytes(3), 3: bytes(range(256)) * 2048}
"""What is in the snapshot that a client wrote, by the blocks' numbers; all others are absent."""

_EC2: dict[str, dict[str, Any]] = {
    "describe_vpcs": {},
    "describe_subnets": {},
    "describe_internet_gateways": {},
    "describe_route_tables": {},
    "describe_nat_gateways": {},
    "describe_dhcp_options": {},
    "describe_network_acls": {},
    "describe_vpc_peering_connections": {},
    "describe_managed_prefix_lists": {},
    "describe_security_groups": {},
    "describe_security_group_rules": {},
    "describe_network_interfaces": {},
    "describe_addresses": {},
    "describe_key_pairs": {},
    "describe_instances": {},
    "describe_volumes": {},
    "describe_volumes_modifications": {},
    "describe_snapshots": {"RestorableByUserIds": ["self"]},
    "describe_images": {"IncludeDisabled": True, "IncludeDeprecated": True},
    "describe_iam_instance_profile_associations": {},
    "describe_tags": {},
    "describe_flow_logs": {},
    "get_ebs_encryption_by_default": {},
}
_IAM = (
    "list_users",
    "list_groups",
    "list_roles",
    "list_instance_profiles",
    "get_account_authorization_details",
)


def calls_of(account: Any) -> list[tuple[str, str, dict[str, Any]]]:
    """List the calls: service, operation, parameters; some name what the account has."""
    calls: list[tuple[str, str, dict[str, Any]]] = [("ec2", name, given) for name, given in _EC2.items()]
    calls += [("iam", name, {}) for name in _IAM]
    calls += [("sts", "get_caller_identity", {}), ("dlm", "get_lifecycle_policies", {}), ("s3", "list_buckets", {})]
    ec2 = account.ec2
    for reservation in ec2.describe_instances()["Reservations"]:
        for instance in reservation["Instances"]:
            for attribute in ("userData", "disableApiTermination", "blockDeviceMapping"):
                asked = {"InstanceId": instance["InstanceId"], "Attribute": attribute}
                calls.append(("ec2", "describe_instance_attribute", asked))
    for snapshot in ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"]:
        asked = {"SnapshotId": snapshot["SnapshotId"], "Attribute": "createVolumePermission"}
        calls.append(("ec2", "describe_snapshot_attribute", asked))
    for image in ec2.describe_images(Owners=["self"])["Images"]:
        calls.append(
            ("ec2", "describe_image_attribute", {"ImageId": image["ImageId"], "Attribute": "launchPermission"})
        )
    for policy in account.client("dlm").get_lifecycle_policies()["Policies"]:
        calls.append(("dlm", "get_lifecycle_policy", {"PolicyId": policy["PolicyId"]}))
    return calls


def answers_to(account: Any, calls: list[tuple[str, str, dict[str, Any]]]) -> list[dict[str, Any]]:
    """Make the calls, and give each with its answer as JSON can hold it."""
    clients = {service: account.client(service) for service in {service for service, _, _ in calls}}
    answers = []
    for service, operation, given in calls:
        answer = getattr(clients[service], operation)(**given)
        del answer["ResponseMetadata"]
        content = json.loads(json.dumps(answer, default=str))
        answers.append({"call": [service, operation, given], "answer": content})
    return answers
