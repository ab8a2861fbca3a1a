"""Very many instances at once, by raw inserts: each with a root volume, an interface, a group and three tags."""

import random
from dataclasses import dataclass

from sqlalchemy import insert

from stead_controller.db.session import Transaction
from stead_controller.db.tables import (
    Instance,
    InterfaceGroup,
    NetworkInterface,
    PublicAddress,
    Reservation,
    Subnet,
    Tag,
    Volume,
    Vpc,
)
from stead_proto import ids
from tests.unit.controller.resources.rows import GIB, NOW, Tenant, World

_BATCH = 5000


@dataclass(frozen=True)
class Crowd:
    """What is rare among the instances: 20 of each, however many there are."""

    rare_tag: str
    rare_state: str
    rare_vpc_id: str
    rare_subnet_id: str
    instance_ids: list[str]


def settle(tx: Transaction, world: World, tenant: Tenant, number: int) -> Crowd:
    """Add `number` running instances of a tenant in random order of ids; the last 20 are rare."""
    vpc_id, subnet_id = _second_vpc(tx, tenant)
    reservations = [ids.new_id("reservation") for _ in range(number // 10 + 1)]
    account = tenant.caller.account_id
    tx.session.execute(
        insert(Reservation), [{"id": one, "account_id": account, "created": NOW} for one in reservations]
    )
    made: list[str] = []
    for first in range(0, number, _BATCH):
        batch = range(first, min(first + _BATCH, number))
        rows = [
            _instance(
                world,
                tenant,
                serial,
                reservations[serial // 10],
                (vpc_id, subnet_id) if serial >= number - 20 else None,
            )
            for serial in batch
        ]
        made += [row["id"] for row in rows]
        _insert(tx, world, tenant, rows)
    return Crowd("needle", "stopped", vpc_id, subnet_id, made)


def _second_vpc(tx: Transaction, tenant: Tenant) -> tuple[str, str]:
    vpc = Vpc(
        id=ids.new_id("vpc"),
        account_id=tenant.caller.account_id,
        cidr_block="10.0.0.0/16",
        cidr_association_id=ids.new_id("vpc-cidr-association"),
        dhcp_options_id=ids.new_id("dhcp-options"),
        vni=random.randrange(1000, 1 << 24),
        created=NOW,
    )
    tx.session.add(vpc)
    tx.session.flush()
    subnet = Subnet(
        id=ids.new_id("subnet"),
        account_id=vpc.account_id,
        vpc_id=vpc.id,
        cidr_block="10.0.0.0/16",
        zone="us-east-1a",
        created=NOW,
    )
    tx.session.add(subnet)
    tx.session.flush()
    return vpc.id, subnet.id


def _instance(world: World, tenant: Tenant, serial: int, reservation_id: str, rare: tuple[str, str] | None) -> dict:
    address = f"172.{serial >> 16}.{serial >> 8 & 255}.{serial & 255}"
    vpc_id, subnet_id = rare or (tenant.vpc_id, tenant.subnet_ids[0])
    return {
        "id": ids.new_id("instance"),
        "account_id": tenant.caller.account_id,
        "reservation_id": reservation_id,
        "image_id": world.image_id,
        "instance_type": "t3.micro",
        "vcpus": 2,
        "memory": GIB,
        "architecture": "x86_64",
        "boot_mode": "legacy-bios",
        "state": "stopped" if rare else "running",
        "state_changed": NOW,
        "host_id": world.host_id,
        "zone": "us-east-1a",
        "vpc_id": vpc_id,
        "subnet_id": subnet_id,
        "private_address": address,
        "public_address": f"198.{18 + (serial >> 16)}.{serial >> 8 & 255}.{serial & 255}",
        "key_name": "mine",
        "launch_time": NOW,
        "launch_index": serial % 10,
        "client_token": f"token-{serial}",
        "root_device_name": "/dev/sda1",
    }


def _insert(tx: Transaction, world: World, tenant: Tenant, instances: list[dict]) -> None:
    account = tenant.caller.account_id
    interfaces, volumes, groups, public, tags = [], [], [], [], []
    for row in instances:
        interface = {
            "id": ids.new_id("network-interface"),
            "account_id": account,
            "vpc_id": row["vpc_id"],
            "subnet_id": row["subnet_id"],
            "zone": row["zone"],
            "mac_address": "02:" + ":".join(f"{byte:02x}" for byte in bytes.fromhex(row["id"][-10:])),
            "private_address": row["private_address"],
            "status": "in-use",
            "created": NOW,
            "host_id": row["host_id"],
            "instance_id": row["id"],
            "attachment_id": ids.new_id("network-interface-attachment"),
            "device_index": 0,
            "attachment_state": "attached",
            "attach_time": NOW,
            "delete_on_termination": True,
        }
        interfaces.append(interface)
        volumes.append(
            {
                "id": ids.new_id("volume"),
                "account_id": account,
                "zone": row["zone"],
                "host_id": row["host_id"],
                "size": 8,
                "volume_type": "gp3",
                "iops": 3000,
                "throughput": 125,
                "image_id": world.image_id,
                "state": "in-use",
                "created": NOW,
                "instance_id": row["id"],
                "device_name": "/dev/sda1",
                "attachment_state": "attached",
                "attach_time": NOW,
                "delete_on_termination": True,
            }
        )
        groups.append({"interface_id": interface["id"], "group_id": tenant.group_id})
        public.append(
            {
                "address": row["public_address"],
                "account_id": account,
                "interface_id": interface["id"],
                "private_address": row["private_address"],
            }
        )
        values = {"Name": f"web-{row['client_token']}", "team": "blue", "env": "prod"}
        if row["state"] == "stopped":
            values["team"] = "needle"
        tags += [
            {"resource_id": row["id"], "key": key, "value": value, "account_id": account, "resource_type": "instance"}
            for key, value in values.items()
        ]
    for table, rows in (
        (Instance, instances),
        (NetworkInterface, interfaces),
        (Volume, volumes),
        (InterfaceGroup, groups),
        (PublicAddress, public),
        (Tag, tags),
    ):
        tx.session.execute(insert(table), rows)
