"""Very many instances in seconds: launch one, then let SQLite copy its rows with other ids and addresses."""

from dataclasses import dataclass

from sqlalchemy import Table, text

from stead_controller.db.session import Transaction
from stead_controller.db.tables import (
    Instance,
    NetworkInterface,
    Snapshot,
    Volume,
)
from stead_controller.resources.network import create_subnet, create_vpc
from tests.support import rows
from tests.support.rows import CLOUD, NOW, Tenant, World

RARE = 20


@dataclass(frozen=True)
class Crowd:
    """The rare ones among the instances: `RARE` of them are stopped, in another VPC and tagged `team=needle`.

    All are tagged `env=prod`, the others also `team=blue`, each with a `Name` of its own such as `web-777`.
    """

    vpc_id: str
    subnet_id: str


def settle(tx: Transaction, world: World, tenant: Tenant, number: int) -> Crowd:
    """Add `number` running instances, each with root volume, interface, group, public address and three tags.

    Each root volume has a snapshot; those of rare instances are pending, and their volumes made from another snapshot.
    """
    crowd = _second_vpc(tx, tenant)
    template = rows.launch(tx, world, tenant, client_token="template", key_name="mine", public_address="198.51.100.1")
    rare = f"n >= {number - RARE}"
    address = "(n >> 16) || '.' || (n >> 8 & 255) || '.' || (n & 255)"
    numbers = f"(WITH RECURSIVE s(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM s LIMIT {number}) SELECT n FROM s)"
    _copy(
        tx,
        Instance.__table__,
        f"{numbers} WHERE t.id = '{template.id}'",
        id=_new_id("i"),
        reservation_id="printf('r-0%016x', n / 10)",
        launch_index="n % 10",
        client_token="'token-' || n",
        private_address=f"'172.' || {address}",
        public_address=f"'198.' || {address}",
        state=f"CASE WHEN {rare} THEN 'stopped' ELSE 'running' END",
        vpc_id=f"CASE WHEN {rare} THEN '{crowd.vpc_id}' ELSE t.vpc_id END",
        subnet_id=f"CASE WHEN {rare} THEN '{crowd.subnet_id}' ELSE t.subnet_id END",
    )
    of_template = f"instances i WHERE t.instance_id = '{template.id}' AND i.client_token LIKE 'token-%'"
    _copy(
        tx,
        NetworkInterface.__table__,
        of_template,
        id=_new_id("eni"),
        attachment_id=_new_id("eni-attach"),
        instance_id="i.id",
        mac_address="printf('02:%s:%s', substr(i.id, 6, 7), substr(i.id, 13, 7))",
        private_address="i.private_address",
        vpc_id="i.vpc_id",
        subnet_id="i.subnet_id",
    )
    _add_disks(tx, tenant, of_template, template.id)
    of_interfaces = "network_interfaces e JOIN instances i ON i.id = e.instance_id WHERE i.client_token LIKE 'token-%'"
    for statement in (
        f"INSERT INTO interface_groups (interface_id, group_id) SELECT e.id, '{tenant.group_id}' FROM {of_interfaces}",
        (
            "INSERT INTO interface_addresses (subnet_id, address, interface_id, ipv6, 'primary') "
            f"SELECT e.subnet_id, e.private_address, e.id, 0, 1 FROM {of_interfaces}"
        ),
        (
            "INSERT INTO public_addresses (address, account_id, interface_id, private_address) "
            f"SELECT i.public_address, i.account_id, e.id, i.private_address FROM {of_interfaces}"
        ),
        *(_tags(key, value) for key, value in _TAGS),
    ):
        tx.session.execute(text(statement))
    return crowd


_TAGS = (
    ("Name", "'web-' || substr(client_token, 7)"),
    ("team", "CASE state WHEN 'stopped' THEN 'needle' ELSE 'blue' END"),
    ("env", "'prod'"),
)


def _add_disks(tx: Transaction, tenant: Tenant, of_template: str, template_id: str) -> None:
    """Add a root volume for each instance, and a snapshot of each volume."""
    _copy(
        tx,
        Volume.__table__,
        of_template,
        id=_new_id("vol"),
        instance_id="i.id",
        snapshot_id="CASE i.state WHEN 'stopped' THEN 'snap-0123456789abcde00' ELSE t.snapshot_id END",
    )
    taken = rows.snapshot(tenant.caller.account_id)
    tx.session.add(taken)
    tx.session.flush()
    _copy(
        tx,
        Snapshot.__table__,
        f"volumes v WHERE t.id = '{taken.id}' AND v.instance_id != '{template_id}'",
        id=_new_id("snap"),
        volume_id="v.id",
        state="CASE v.snapshot_id WHEN 'snap-0123456789abcde00' THEN 'pending' ELSE 'completed' END",
    )


def _tags(key: str, value: str) -> str:
    return (
        f"INSERT INTO tags (resource_id, key, value, account_id, resource_type) SELECT id, '{key}', {value}, "
        "account_id, 'instance' FROM instances WHERE client_token LIKE 'token-%'"
    )


def _copy(tx: Transaction, table: object, source: str, **changes: str) -> None:
    """Copy rows of a table (`t`) for each row of a source, with some columns changed."""
    assert isinstance(table, Table)
    names = [column.name for column in table.columns]
    values = ", ".join(changes.get(name, f"t.{name}") for name in names)
    tx.session.execute(
        text(f"INSERT INTO {table.name} ({', '.join(names)}) SELECT {values} FROM {table.name} t, {source}")
    )


def _new_id(prefix: str) -> str:
    return f"'{prefix}-0' || lower(hex(randomblob(8)))"


def _second_vpc(tx: Transaction, tenant: Tenant) -> Crowd:
    vpc = create_vpc.add(tx, CLOUD, tenant.caller.account_id, "10.0.0.0/16", NOW)
    return Crowd(vpc.id, create_subnet.add(tx, vpc, "10.0.0.0/16", "us-east-1a", NOW).id)
