"""Builders of database rows with valid default values, which the tests override."""

import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import select

from stead_controller.catalog import ids
from stead_controller.db.session import Transaction
from stead_controller.db.tables import (
    AccessKey,
    Account,
    CloudFact,
    Host,
    IamInstanceProfile,
    IamRole,
    Image,
    ImageBlockDevice,
    Instance,
    InterfaceAddress,
    InterfaceGroup,
    NetworkInterface,
    PublicAddress,
    Reservation,
    ScalingGroup,
    ScalingInstance,
    SecurityGroup,
    SecurityGroupRule,
    Snapshot,
    Subnet,
    Tag,
    Volume,
)
from stead_controller.request.caller import Caller
from stead_controller.request.cloud import Cloud
from stead_controller.request.owners import CLOUD_ACCOUNT
from stead_controller.resources.network.default_vpc import create_default_vpc
from stead_controller.resources.network.vpc_endpoint_services import keep
from stead_controller.resources.storage.snapshots import NO_VOLUME

NOW = datetime(2026, 3, 4, 5, 6, 7, 89_000, tzinfo=UTC)
GIB = 1 << 30
CLOUD = Cloud(
    region="us-east-1",
    zones=("us-east-1a", "us-east-1b"),
    partition="aws",
    endpoint="https://127.0.0.1:8773",
)


@dataclass
class Tenant:
    """An account with what it has at creation."""

    caller: Caller
    vpc_id: str
    subnet_ids: list[str]
    group_id: str


@dataclass
class World:
    """Two tenants, one host, one public image."""

    one: Tenant
    other: Tenant
    host_id: str
    image_id: str
    cloud: Cloud = CLOUD
    now: datetime = NOW

    def copy(self) -> "World":
        """Copy the object, with the same rows, for a test that changes it."""
        one, other = (replace(each, subnet_ids=list(each.subnet_ids)) for each in (self.one, self.other))
        return replace(self, one=one, other=other)


def caller(account_id: str) -> Caller:
    """The root user of an account."""
    return Caller(account_id, f"arn:aws:iam::{account_id}:root", account_id, f"AKIA{account_id}")


def build_world(tx: Transaction) -> World:
    """Add the rows of a World."""
    host_row = host()
    image_row = image()
    tx.session.add_all([host_row, image_row])
    tx.session.flush()
    tx.session.add_all([image_device(image_row), image_snapshot(image_row)])
    if tx.session.get(CloudFact, "region") is None:
        tx.session.add(CloudFact(name="region", value=CLOUD.region))
    keep(tx, CLOUD, NOW)
    one, other = tenant(tx, "111111111111", 1), tenant(tx, "222222222222", 2)
    return World(one, other, host_id=host_row.id, image_id=image_row.id)


def tenant(tx: Transaction, account_id: str, vni: int) -> Tenant:
    """Add an account with its default VPC, whose first VNI is given, as for a new account."""
    session = tx.session
    session.add(Account(id=account_id, name=account_id, created=NOW))
    session.flush()
    vpc = create_default_vpc(tx, CLOUD, account_id, NOW)
    vpc.vni = vni
    session.flush()
    subnets = session.scalars(select(Subnet.id).where(Subnet.vpc_id == vpc.id).order_by(Subnet.zone))
    group = session.scalars(select(SecurityGroup.id).where(SecurityGroup.vpc_id == vpc.id))
    return Tenant(caller(account_id), vpc.id, list(subnets), group.one())


def access_key(caller: Caller, secret: str, **changes: Any) -> AccessKey:
    """An access key of a caller, its secret sealed with the master key of this world."""
    values = {
        "id": caller.access_key_id,
        "account_id": caller.account_id,
        "user_id": caller.principal_id or caller.account_id,
        "arn": caller.arn,
        "secret_sealed": CLOUD.sealer.seal(secret.encode(), f"access-key:{caller.access_key_id}"),
        "created": NOW,
    }
    return AccessKey(**values | changes)


def offered(values: dict[str, Any]) -> dict[str, Any]:
    """New values of columns of hosts, with what must be offered where `cpus_free` or `memory_free` is given."""
    reserved = {"cpus_free": Host.cpus_reserved, "memory_free": Host.memory_reserved}
    return {
        name.replace("_free", "_offered"): reserved[name] + value if name in reserved else value
        for name, value in values.items()
    }


def host(**changes: Any) -> Host:
    """A host with the given columns; `cpus_free` and `memory_free` say what it offers, of which nothing is reserved."""
    values = {
        "id": ids.new_id("host"),
        "hostname": "box",
        "zone": "us-east-1a",
        "state": "up",
        "cpus": 64,
        "memory": 256 * GIB,
        "cpus_offered": changes.pop("cpus_free", 64),
        "memory_offered": changes.pop("memory_free", 256 * GIB),
        "virtualization": "kvm",
        "accelerated": True,
        "uefi": True,
        "tpm": True,
        "created": NOW,
        "last_seen": NOW,
    }
    return Host(**values | changes)


def image(**changes: Any) -> Image:
    values = {
        "id": ids.new_id("image"),
        "account_id": CLOUD_ACCOUNT,
        "name": "micro-1",
        "description": "a small image",
        "state": "available",
        "public": True,
        "architecture": "x86_64",
        "boot_mode": "legacy-bios",
        "root_device_name": "/dev/sda1",
        "snapshot_id": ids.new_id("snapshot"),
        "format": "qcow2",
        "sha256": "0" * 64,
        "file_size": 1000,
        "virtual_size": 2 * GIB,
        "created": NOW,
    }
    return Image(**values | changes)


def image_device(image: Image, **changes: Any) -> ImageBlockDevice:
    """An image's root disk."""
    values = {
        "image_id": image.id,
        "device_name": image.root_device_name,
        "snapshot_id": image.snapshot_id,
        "volume_size": image.virtual_size // GIB,
    }
    return ImageBlockDevice(**values | changes)


def image_snapshot(image: Image) -> Snapshot:
    """The snapshot of an image's root disk."""
    size = {"volume_size": image.virtual_size // GIB, "size": image.virtual_size}
    return snapshot(image.account_id, id=image.snapshot_id, volume_id=NO_VOLUME, **size)


def rule(group: SecurityGroup, **changes: Any) -> SecurityGroupRule:
    values = {
        "id": ids.new_id("security-group-rule"),
        "account_id": group.account_id,
        "group_id": group.id,
        "egress": False,
        "protocol": "-1",
        "from_port": -1,
        "to_port": -1,
    }
    return SecurityGroupRule(**values | changes)


def launch(
    tx: Transaction,
    world: World,
    tenant: Tenant,
    *,
    number: int = 0,
    reservation_id: str | None = None,
    public_address: str | None = None,
    tags: dict[str, str] | None = None,
    **changes: Any,
) -> Instance:
    """Add a running instance with a root volume and an interface in the tenant's first subnet."""
    session = tx.session
    if reservation_id is None:
        reservation_id = ids.new_id("reservation")
        session.add(Reservation(id=reservation_id, account_id=tenant.caller.account_id, created=NOW))
    values = {
        "id": ids.new_id("instance"),
        "account_id": tenant.caller.account_id,
        "reservation_id": reservation_id,
        "image_id": world.image_id,
        "instance_type": "t3.micro",
        "vcpus": 2,
        "threads_per_core": 2,
        "memory": GIB,
        "architecture": "x86_64",
        "boot_mode": "legacy-bios",
        "state": "running",
        "state_changed": NOW,
        "host_id": world.host_id,
        "zone": "us-east-1a",
        "vpc_id": tenant.vpc_id,
        "subnet_id": tenant.subnet_ids[0],
        "private_address": f"172.31.{number // 250}.{number % 250 + 4}",
        "public_address": public_address,
        "launch_time": NOW,
        "launch_index": 0,
        "root_device_name": "/dev/sda1",
    }
    instance = Instance(**values | changes)
    session.add(instance)
    session.flush()
    interface = network_interface(instance)
    session.add_all([interface, held(interface), volume(instance, world)])
    session.flush()
    session.add(InterfaceGroup(interface_id=interface.id, group_id=tenant.group_id))
    if public_address:
        session.add(
            PublicAddress(
                address=public_address,
                account_id=instance.account_id,
                interface_id=interface.id,
                private_address=interface.private_address,
            )
        )
    for key, value in (tags or {}).items():
        session.add(
            Tag(
                resource_id=instance.id,
                key=key,
                value=value,
                account_id=instance.account_id,
                resource_type="instance",
            )
        )
    session.flush()
    return instance


def network_interface(instance: Instance, **changes: Any) -> NetworkInterface:
    serial = int(instance.id.rsplit("-", 1)[1], 16) % 2**40
    values = {
        "id": ids.new_id("network-interface"),
        "account_id": instance.account_id,
        "vpc_id": instance.vpc_id,
        "subnet_id": instance.subnet_id,
        "zone": instance.zone,
        "description": "",
        "mac_address": "02:" + ":".join(f"{byte:02x}" for byte in serial.to_bytes(5)),
        "private_address": instance.private_address,
        "status": "in-use",
        "created": NOW,
        "host_id": instance.host_id,
        "instance_id": instance.id,
        "attachment_id": ids.new_id("network-interface-attachment"),
        "device_index": 0,
        "attachment_state": "attached",
        "attach_time": NOW,
        "delete_on_termination": True,
    }
    return NetworkInterface(**values | changes)


def held(interface: NetworkInterface) -> InterfaceAddress:
    """The row of an interface's primary address, which every interface has."""
    return InterfaceAddress(
        subnet_id=interface.subnet_id,
        address=interface.private_address,
        interface_id=interface.id,
        ipv6=False,
        primary=True,
    )


def volume(instance: Instance, world: World, **changes: Any) -> Volume:
    values = {
        "id": ids.new_id("volume"),
        "account_id": instance.account_id,
        "zone": instance.zone,
        "host_id": instance.host_id,
        "size": 8,
        "volume_type": "gp3",
        "iops": 3000,
        "throughput": 125,
        "snapshot_id": "snap-0123456789abcdef0",
        "state": "in-use",
        "created": NOW,
        "instance_id": instance.id,
        "device_name": "/dev/sda1",
        "attachment_state": "attached",
        "attach_time": NOW,
        "delete_on_termination": True,
        "attached_host_id": instance.host_id,
        "generation": 1,
    }
    return Volume(**values | changes)


def snapshot(account_id: str, **changes: Any) -> Snapshot:
    """A completed snapshot of a deleted volume."""
    values = {
        "id": ids.new_id("snapshot"),
        "account_id": account_id,
        "volume_id": ids.new_id("volume"),
        "volume_size": 8,
        "size": 8 * GIB,
        "state": "completed",
        "progress": 100,
        "started": NOW,
        "completed": NOW,
    }
    return Snapshot(**values | changes)


def role(account_id: str, name: str, **changes: Any) -> IamRole:
    """A role that EC2 may assume for instances."""
    values = {
        "id": f"AROA{name.upper():0>17}"[:21],
        "account_id": account_id,
        "name": name,
        "name_lower": name.lower(),
        "path": "/",
        "created": NOW,
        "trust_policy": trust({"Service": "ec2.amazonaws.com"}),
    }
    return IamRole(**values | changes)


def trust(principal: dict[str, Any], *actions: str, **condition: Any) -> str:
    """A trust policy that allows a principal to assume the role, or the given actions."""
    statement = {"Effect": "Allow", "Principal": principal, "Action": actions or "sts:AssumeRole"}
    if condition:
        statement["Condition"] = condition
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def instance_profile(account_id: str, name: str, role_id: str | None, **changes: Any) -> IamInstanceProfile:
    """An instance profile with or without a role."""
    values = {
        "id": f"AIPA{name.upper():0>17}"[:21],
        "account_id": account_id,
        "name": name,
        "name_lower": name.lower(),
        "path": "/fleet/",
        "created": NOW,
        "role_id": role_id,
    }
    return IamInstanceProfile(**values | changes)


def scaling_group(account_id: str, **changes: Any) -> ScalingGroup:
    """An Auto Scaling group without instances, called web."""
    values = {
        "id": "00000000-0000-4000-8000-000000000001",
        "account_id": account_id,
        "name": "web",
        "created": NOW,
        "launch": "{}",
        "zones": ["us-east-1a"],
        "subnets": [],
        "min_size": 0,
        "max_size": 10,
        "desired": 0,
        "cooldown": 300,
        "health_type": "EC2",
        "health_grace": 0,
        "protect_new": False,
        "termination_policies": ["Default"],
        "suspended": {},
        "deleting": False,
        "why": "",
        "failures": 0,
    }
    return ScalingGroup(**values | changes)


def scaling_instance(group: ScalingGroup, instance_id: str, **changes: Any) -> ScalingInstance:
    """An instance of a group, in service."""
    values = {
        "instance_id": instance_id,
        "group_id": group.id,
        "account_id": group.account_id,
        "zone": "us-east-1a",
        "instance_type": "stead.tiny",
        "lifecycle_state": "InService",
        "since": NOW,
        "healthy": True,
        "protected": False,
        "weight": 1,
        "spot": False,
        "launched": NOW,
        "in_service": NOW,
    }
    return ScalingInstance(**values | changes)
