"""Allocate and find Elastic IP addresses.

See https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/elastic-ip-addresses-eip.html.
"""

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Select, select, update

from stead_controller.catalog import ids
from stead_controller.db.tables import ElasticAddress, NetworkInterface, PublicAddress
from stead_controller.errors import (
    InvalidCombination,
    InvalidParameter,
    MissingParameter,
    NotAuthorized,
    NotFound,
)
from stead_controller.request import lookup
from stead_controller.request.caller import Caller
from stead_controller.request.cloud import Cloud
from stead_controller.request.conditions import Condition, Selection, constant, exists_where, text
from stead_controller.request.transaction import Transaction
from stead_controller.resources import quotas, tags
from stead_controller.resources.network import address_pools, address_usage, unclaimed_addresses

_TYPE: Final = "elastic-ip"


@dataclass(frozen=True, slots=True)
class Allocation:
    """A public address of an account, by its allocation id."""

    id: str
    address: str


@dataclass(frozen=True, slots=True)
class Association:
    """The association of an address with a private address of a network interface."""

    id: str | None
    instance_id: str | None
    interface_id: str
    interface_account_id: str
    private_address: str | None


@dataclass(frozen=True, slots=True)
class DescribedElasticAddress:
    """An Elastic IP address with its association, if it has one, and its tags."""

    allocation: Allocation
    association: Association | None
    tags: Sequence[tuple[str, str]]


def conditions(cloud: Cloud) -> dict[str, Condition]:
    """All filters of DescribeAddresses by name, without those about tags."""
    public, interface = PublicAddress, NetworkInterface
    of_interface = _public().join(interface, interface.id == public.interface_id)
    return {
        "allocation-id": text(ElasticAddress.id),
        "association-id": exists_where(_public(), text(public.association_id)),
        "domain": constant("vpc"),
        "instance-id": exists_where(of_interface, text(interface.instance_id)),
        "network-border-group": constant(cloud.region),
        "network-interface-id": exists_where(_public(), text(public.interface_id)),
        "network-interface-owner-id": exists_where(of_interface, text(interface.account_id)),
        "private-ip-address": exists_where(_public(), text(public.private_address)),
        "public-ip": text(ElasticAddress.address),
    }


def _public() -> Select[Any]:
    return (
        select(PublicAddress.address).where(PublicAddress.address == ElasticAddress.address).correlate(ElasticAddress)
    )


def allocate(  # noqa: PLR0917 — what the operation asks
    tx: Transaction,
    caller: Caller,
    cloud: Cloud,
    wanted: str | None,
    tags_on_create: Mapping[str, Mapping[str, str]],
    now: datetime,
) -> Allocation:
    """Allocate an address of the cloud's pools to the account, a specific one if requested.

    Raises InvalidParameter, NotFound for an address that is not available, LimitExceeded.
    """
    _check_quota(tx, caller, cloud)
    allocation_id = ids.new_id(_TYPE)
    if wanted is None:
        address = address_pools.take_free(tx, cloud, caller.account_id, now, allocation_id=allocation_id)
    else:
        address = _take_wanted(tx, caller, cloud, wanted, allocation_id, now)
    tx.session.add(ElasticAddress(id=allocation_id, account_id=caller.account_id, address=address, created=now))
    tx.session.flush()
    address_usage.begin_elastic(tx, caller.account_id, allocation_id, now)
    tags.create_on_launch(tx, caller, [(_TYPE, allocation_id)], tags_on_create)
    return Allocation(allocation_id, address)


def find(tx: Transaction, caller: Caller, allocation_id: str | None, public_address: str | None) -> ElasticAddress:
    """Return the caller's address by its allocation id or by the address.

    Raises MissingParameter, InvalidCombination, MalformedId, NotFound; NotAuthorized for any public address that is
    not the caller's.
    """
    if allocation_id is not None and public_address is not None:
        raise InvalidCombination("You may specify public IP or allocation id, but not both in the same call")
    if allocation_id is not None:
        return lookup.find(tx, caller, _TYPE, ElasticAddress, allocation_id)
    if public_address is None:
        raise MissingParameter("AllocationId or PublicIp")
    _check_form(public_address)
    found = tx.session.scalar(
        select(ElasticAddress).where(
            ElasticAddress.address == public_address, ElasticAddress.account_id == caller.account_id
        )
    )
    if found is None:
        raise NotAuthorized(f"The address '{public_address}' does not belong to you.", code="AuthFailure")
    return found


def describe(
    tx: Transaction, caller: Caller, cloud: Cloud, asked: Selection, public_addresses: Sequence[str]
) -> list[DescribedElasticAddress]:
    """Find the caller's addresses, sorted by allocation.

    Raises MalformedId, InvalidParameter for an invalid address, NotFound.
    """
    lookup.require(tx, _TYPE, ElasticAddress.id, asked.ids, ElasticAddress.account_id == caller.account_id)
    for address in public_addresses:
        _check_form(address)
    if public_addresses:
        asked = replace(asked, ids=(*asked.ids, *_ids_of(tx, caller, public_addresses)))
    found = lookup.select_page(tx, caller, _TYPE, ElasticAddress, asked, conditions=conditions(cloud))
    held = _associations(tx, [one.address for one in found])
    tagged = tags.pairs_of(tx, caller.account_id, [one.id for one in found])
    return [
        DescribedElasticAddress(Allocation(one.id, one.address), held.get(one.address), tagged.get(one.id, ()))
        for one in found
    ]


def describe_attribute(tx: Transaction, caller: Caller, asked: Selection) -> list[Allocation]:
    """Find the caller's addresses for their reverse DNS names, which none has; raises MalformedId, NotFound."""
    found = lookup.select_page(tx, caller, _TYPE, ElasticAddress, asked, conditions={})
    return [Allocation(one.id, one.address) for one in found]


def _ids_of(tx: Transaction, caller: Caller, public_addresses: Sequence[str]) -> list[str]:
    query = select(ElasticAddress.address, ElasticAddress.id).where(
        ElasticAddress.account_id == caller.account_id, ElasticAddress.address.in_(public_addresses)
    )
    found = {row[0]: row[1] for row in tx.session.execute(query)}
    missing = [address for address in dict.fromkeys(public_addresses) if address not in found]
    if missing:
        raise NotFound("public-ip", missing)
    return list(found.values())


def _associations(tx: Transaction, public_addresses: Sequence[str]) -> dict[str, Association]:
    """The association of each associated address."""
    found: dict[str, Association] = {}
    public, interface = PublicAddress, NetworkInterface
    for batch in lookup.batches(public_addresses):
        query = (
            select(public.address, public.association_id, public.private_address, interface)
            .join(interface, interface.id == public.interface_id)
            .where(public.address.in_(batch))
        )
        for address, association_id, private_address, row in tx.session.execute(query):
            found[address] = Association(association_id, row.instance_id, row.id, row.account_id, private_address)
    return found


def _take_wanted(  # noqa: PLR0917 — what an allocation consists of
    tx: Transaction, caller: Caller, cloud: Cloud, wanted: str, allocation_id: str, now: datetime
) -> str:
    """Take exactly this address: a free one, or one that the account released recently."""
    _check_form(wanted)
    if not address_pools.in_pools(cloud, wanted) or address_pools.is_unclaimed(tx, wanted):
        raise NotFound("public-ip", wanted)
    unclaimed_addresses.require_known(tx)
    address_pools.forget_rested(tx, cloud, now)
    values = {"address": wanted, "account_id": caller.account_id, "allocation_id": allocation_id}
    if address_pools.hold_public(tx, values):
        return wanted
    own = update(PublicAddress).where(
        PublicAddress.address == wanted,
        PublicAddress.account_id == caller.account_id,
        PublicAddress.released.is_not(None),
    )
    changed = tx.session.execute(
        own.values(released=None, allocation_id=allocation_id)
        .returning(PublicAddress.address)
        .execution_options(synchronize_session=False)
    )
    if changed.first() is None:
        raise NotFound("public-ip", wanted)
    return wanted


def _check_form(address: str) -> None:
    try:
        ipaddress.IPv4Address(address)
    except ValueError as error:
        raise InvalidParameter(f"Value ({address}) for parameter publicIp is invalid. Invalid IPv4 address") from error


def _check_quota(tx: Transaction, caller: Caller, cloud: Cloud) -> None:
    quotas.check(
        tx,
        caller.account_id,
        quotas.ELASTIC_ADDRESSES,
        ElasticAddress.id,
        ElasticAddress.account_id == caller.account_id,
        cloud=cloud,
    )
