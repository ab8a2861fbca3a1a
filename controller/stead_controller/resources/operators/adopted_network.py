"""Adopts an interface of an instance with its addresses and groups: the same ids, MAC and addresses as its host has.

Its VPC was adopted before, where that was not known (`adopted_vpcs.py`). A security group that is still not known,
since an agent of an earlier release did not say it whole, is made again by what the host knows of it.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import select

from stead_controller.catalog import ids
from stead_controller.db.insert import insert_new, new_row
from stead_controller.db.tables import (
    ElasticAddress,
    Instance,
    NetworkInterface,
    PrefixList,
    PublicAddress,
    SecurityGroup,
    SecurityGroupRule,
    Subnet,
)
from stead_controller.desired import topics
from stead_controller.errors import WrongState
from stead_controller.request.transaction import Transaction
from stead_controller.resources.network import (
    address_pools,
    address_usage,
    interface_groups,
    notify_topology,
    private_addresses,
)
from stead_controller.resources.operators import adopted_rows
from stead_controller.resources.operators.unclaimed_resources import NO_WORD, Unclaimed
from stead_proto.v1 import desired_pb2 as pb

_DEFAULT = "default"


def subnet_of(tx: Transaction, found: Unclaimed, account_id: str) -> Subnet:
    """Return the subnet of an interface; raises WrongState for one that the database does not know, or another's."""
    if found.resource is None:
        raise WrongState("network-interface", f"{found.id} cannot be adopted: {NO_WORD}.")
    body = found.resource.interface
    subnet = tx.session.get(Subnet, body.subnet_id)
    if subnet is None or subnet.vpc_id != body.vpc_id:
        raise WrongState(
            "network-interface",
            f"The subnet {body.subnet_id} of {found.id}, in {body.vpc_id}, is not in the database, and its host does "
            "not know enough of it: the controller of an earlier release told it less. Restore a newer backup; or "
            "save by other means what is on its disks, and remove it.",
        )
    if subnet.account_id != account_id:
        raise WrongState("network-interface", f"The subnet {subnet.id} is the account {subnet.account_id}'s.")
    return subnet


def adopt(  # noqa: PLR0917 - what an interface consists of
    tx: Transaction, found: Unclaimed, subnet: Subnet, owner: Instance, place: pb.MachineInterface, now: datetime
) -> list[str]:
    """Make the rows of an interface, or take one that the database has free, and attach it; return what to know of it.

    Its row as unclaimed must be gone already. Raises WrongState where somebody else has one of its addresses by now.
    """
    assert found.resource is not None
    body = found.resource.interface
    row = tx.session.get(NetworkInterface, found.id)
    notes: list[str] = []
    if row is None:
        row = _new(tx, found.id, body, subnet, adopted_rows.interface(found.id, body, subnet, now))
        groups, notes = _groups(tx, found, subnet.account_id, now)
        interface_groups.join(tx, row.id, groups)
    elif row.attachment_id is not None or row.account_id != subnet.account_id:
        use = f"attached to {row.instance_id}" if row.instance_id else "in use"
        raise WrongState("network-interface", f"The database has {row.id} as {use}.")
    adopted_rows.plug(row, owner, place.device_index, body)
    tx.session.flush()
    for each in body.public_addresses:
        _give_public(tx, row, each, now)
    notify_topology.target(tx, row.id)
    return notes


def adopt_of_service(
    tx: Transaction, found: Unclaimed, subnet: Subnet, values: Mapping[str, Any], now: datetime
) -> None:
    """Make the rows of an interface of a NAT gateway or an endpoint, of which its host keeps the row itself.

    Its row as unclaimed must be gone already. Raises WrongState where somebody else has one of its addresses by now.
    """
    assert found.resource is not None
    body = found.resource.interface
    if tx.session.get(NetworkInterface, found.id) is not None:
        raise WrongState("network-interface", f"The database has {found.id} with another owner.")
    row = _new(tx, found.id, body, subnet, new_row(NetworkInterface, **values))
    interface_groups.join(tx, row.id, list(body.security_group_ids))
    tx.session.flush()
    for each in body.public_addresses:
        _give_public(tx, row, each, now)


def public_of(tx: Transaction, interface_id: str) -> str | None:
    """Return the public address of an interface's primary private one."""
    return address_pools.public_of(tx, tx.session.get_one(NetworkInterface, interface_id))


def _new(
    tx: Transaction, interface_id: str, body: pb.Interface, subnet: Subnet, row: NetworkInterface
) -> NetworkInterface:
    """Insert the row of an interface with its private addresses; raises WrongState for a MAC in use."""
    with_mac = select(NetworkInterface.id).where(NetworkInterface.mac_address == body.mac_address)
    if (other := tx.session.scalar(with_mac)) is not None or address_pools.is_unclaimed(tx, body.mac_address):
        raise WrongState(
            "network-interface", f"{other or 'Another host'} has the MAC {body.mac_address} of {interface_id}."
        )
    if body.private_address:
        private_addresses.take(tx, subnet, interface_id, body.private_address, primary=True)
    for address in body.secondary_addresses:
        private_addresses.take(tx, subnet, interface_id, address, primary=False)
    blocks = [subnet.ipv6_cidr_block] if subnet.ipv6_cidr_block is not None else []
    for address in body.ipv6_addresses:
        private_addresses.take_ipv6(tx, subnet, blocks, interface_id, address)
    insert_new(tx.session, row)
    return row


def _give_public(tx: Transaction, row: NetworkInterface, given: pb.PublicAddress, now: datetime) -> None:
    """Make the row of a public address, with its allocation if it is an elastic one, and bill it from now on."""
    address = given.public_address
    if address_pools.is_unclaimed(tx, address):
        raise WrongState("elastic-ip", f"Another host has the public address {address} of {row.id} too.")
    held = tx.session.get(PublicAddress, address)
    if held is None:
        held = PublicAddress(address=address, account_id=row.account_id)
        tx.session.add(held)
    elif held.interface_id is not None or (held.allocation_id is not None and held.account_id != row.account_id):
        raise WrongState(
            "elastic-ip",
            f"The public address {address} of {row.id} is {held.interface_id or f'the account {held.account_id}'}'s by "
            "now: disassociate or release it there first.",
        )
    allocation_id = held.allocation_id or given.allocation_id or None
    if allocation_id is not None and held.allocation_id is None:
        if tx.session.get(ElasticAddress, allocation_id) is not None:
            raise WrongState("elastic-ip", f"The database has {allocation_id} with another address than {address}.")
        tx.session.add(ElasticAddress(id=allocation_id, account_id=row.account_id, address=address, created=now))
    held.account_id, held.released = row.account_id, None
    held.allocation_id, held.interface_id = allocation_id, row.id
    held.private_address = given.private_address or None
    held.association_id = ids.new_id("elastic-ip-association") if allocation_id is not None else None
    tx.session.flush()
    if allocation_id is None:
        address_usage.begin_automatic(tx, row.account_id, row.id, now)
    else:
        address_usage.measure(tx, held, now)


def _groups(tx: Transaction, found: Unclaimed, account_id: str, now: datetime) -> tuple[list[str], list[str]]:
    """Return the groups of an interface, those made again where they were not known, and what to know of them."""
    assert found.resource is not None
    body = found.resource.interface
    said = {each.id: each.security_group for each in found.security_groups}
    groups: list[str] = []
    notes: list[str] = []
    for group_id in body.security_group_ids:
        row = tx.session.get(SecurityGroup, group_id)
        if row is not None and row.vpc_id == body.vpc_id:
            groups.append(group_id)
        elif row is None and _is_new(tx, said.get(group_id)):
            notes += _make_group(tx, group_id, said[group_id], account_id, now)
            groups.append(group_id)
        else:
            notes.append(f"the security group {group_id} of {found.id} is not known: the default one is in its place")
    if len(groups) < len(body.security_group_ids):
        mine = (SecurityGroup.vpc_id == body.vpc_id, SecurityGroup.name == _DEFAULT)
        groups += tx.session.scalars(select(SecurityGroup.id).where(*mine)).all()
    return list(dict.fromkeys(groups)), notes


def _is_new(tx: Transaction, said: pb.SecurityGroup | None) -> bool:
    """Tell whether a host knows a group's name, which no other group of its VPC has."""
    if said is None or not said.name:
        return False
    other = select(SecurityGroup.id).where(SecurityGroup.vpc_id == said.vpc_id, SecurityGroup.name == said.name)
    return tx.session.scalar(other) is None


def _make_group(
    tx: Transaction, group_id: str, said: pb.SecurityGroup, account_id: str, now: datetime
) -> Iterable[str]:
    """Make a group and its rules again; rules with prefix lists that are not known are left out."""
    insert_new(tx.session, adopted_rows.group(group_id, said, account_id, now))
    notes = [f"the security group {group_id} ({said.name}) was made again"]
    for rule in adopted_rows.rules(group_id, said, account_id):
        if rule.prefix_list_id is not None and tx.session.get(PrefixList, rule.prefix_list_id) is None:
            notes.append(f"its rule {rule.id} is left out: the prefix list {rule.prefix_list_id} is not known")
        elif tx.session.get(SecurityGroupRule, rule.id) is None:
            insert_new(tx.session, rule)
    topics.refresh_part(tx, pb.KIND_SECURITY_GROUP, group_id, said.vpc_id)
    return notes
