"""What public addresses use: an elastic one from its allocation on, an automatic one while an interface has it."""

from datetime import datetime
from typing import Final

from stead_controller.db.tables import PublicAddress
from stead_controller.metering import ledger, uses
from stead_controller.metering.ledger import Resource
from stead_controller.request.transaction import Transaction

_NO_ZONE: Final = ""  # addresses are a region's


def begin_elastic(tx: Transaction, account_id: str, allocation_id: str, now: datetime) -> None:
    """Begin to bill an address that was just allocated."""
    ledger.begin(tx, Resource(allocation_id, account_id, _NO_ZONE), uses.of_elastic_address(in_use=False), now)


def begin_automatic(tx: Transaction, account_id: str, interface_id: str, now: datetime) -> None:
    """Begin to bill the automatic address that an interface was just given; it has one at most."""
    ledger.begin(tx, Resource(interface_id, account_id, _NO_ZONE), uses.of_automatic_address(), now)


def measure(tx: Transaction, held: PublicAddress, now: datetime) -> None:
    """Bill an elastic address as what it is now: in use with an association, idle without."""
    assert held.allocation_id is not None
    measure_elastic(tx, held.account_id, held.allocation_id, now, in_use=held.interface_id is not None)


def measure_elastic(tx: Transaction, account_id: str, allocation_id: str, now: datetime, *, in_use: bool) -> None:
    """Bill an elastic address as in use or idle."""
    ledger.change(tx, Resource(allocation_id, account_id, _NO_ZONE), uses.of_elastic_address(in_use=in_use), now)


def end(tx: Transaction, account_id: str, resource_id: str, now: datetime) -> None:
    """Bill an address no more: an elastic one by its allocation, an automatic one by its interface."""
    ledger.end(tx, Resource(resource_id, account_id, _NO_ZONE), now)
