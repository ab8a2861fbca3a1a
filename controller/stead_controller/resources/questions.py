"""What only a host, the block store or slow reckoning can answer: asked after the transaction is over."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from ipaddress import ip_address
from typing import Final

from sqlalchemy import select

from stead_controller.db.tables import InterfaceAddress, NetworkInterface
from stead_controller.errors import InvalidParameter, MalformedId, NotFound, WrongState
from stead_controller.resources.caller import Caller
from stead_controller.resources.instance_lookup import find_instances
from stead_controller.resources.transaction import Transaction
from stead_proto import ids

_PASSWORD_CHARACTERS: Final = 2048


@dataclass(frozen=True, slots=True)
class ConsoleOutput:
    """The last bytes of an instance's serial console."""

    host_id: str
    instance_id: str
    last_bytes: int


@dataclass(frozen=True, slots=True)
class Screenshot:
    """A picture of an instance's screen."""

    host_id: str
    instance_id: str


@dataclass(frozen=True, slots=True)
class PasswordData:
    """The encrypted password that an instance's guest wrote to its serial console."""

    host_id: str
    instance_id: str


@dataclass(frozen=True, slots=True)
class PasswordCheck:
    """Which passwords are those that were kept: a byte for each, 1 or 0; each takes some hundredths of a second."""

    pairs: tuple[tuple[str, str], ...] = field(repr=False)  # a password, and what was kept


@dataclass(frozen=True, slots=True)
class Capture:
    """The packets of a network interface for a moment."""

    host_id: str
    interface_id: str
    seconds: int
    packets: int
    snap_length: int


@dataclass(frozen=True, slots=True)
class Look:
    """What is in force on its host for a network interface, and where it routes a packet to."""

    host_id: str
    vpc_id: str
    subnet_id: str
    interface_id: str
    from_address: str
    to_address: str


@dataclass(frozen=True, slots=True)
class ReadBlock:
    """The content of a block of the block store."""

    digest: bytes


@dataclass(frozen=True, slots=True)
class WriteBlock:
    """Keep a block in the block store; the answer is its digest."""

    content: bytes


type BlockQuestion = ReadBlock | WriteBlock
type HostQuestion = ConsoleOutput | Screenshot | PasswordData | Capture | Look
type Question = HostQuestion | BlockQuestion | PasswordCheck


@dataclass(frozen=True, slots=True)
class HostAnswer:
    """What the host or the store said, and when."""

    content: bytes
    taken_at: datetime
    error: str = ""  # why the host could not say more, for the operator


type Ask = Callable[[Question], Awaitable[HostAnswer]]


def console_output(tx: Transaction, caller: Caller, instance_ids: Sequence[str], last_bytes: int) -> Question | None:
    """Find out whom to ask for an instance's console; None when it has no host any more."""
    instance = find_instances(tx, caller, instance_ids)[0]
    if instance.host_id is None or instance.state == "terminated":
        return None
    return ConsoleOutput(instance.host_id, instance.id, last_bytes)


def screenshot(tx: Transaction, caller: Caller, instance_ids: Sequence[str]) -> Question | None:
    """Find out whom to ask for an instance's screen; None when it is not running."""
    instance = find_instances(tx, caller, instance_ids)[0]
    if instance.host_id is None or instance.state != "running":
        return None
    return Screenshot(instance.host_id, instance.id)


def password_data(tx: Transaction, caller: Caller, instance_id: str) -> tuple[PasswordData | None, str]:
    """Find out whom to ask for an instance's password, None while it does not run, and give what is known of it."""
    instance = find_instances(tx, caller, [instance_id])[0]
    known = instance.password_data or ""
    if instance.host_id is None or instance.state != "running":
        return None, known
    return PasswordData(instance.host_id, instance.id), known


def keep_password_data(tx: Transaction, caller: Caller, instance_id: str, password: str) -> str:
    """Keep what an instance's host found, unless it found nothing, and give what is known of the password now."""
    instance = find_instances(tx, caller, [instance_id])[0]
    if password and len(password) <= _PASSWORD_CHARACTERS:
        instance.password_data = password
    return instance.password_data or ""


def interface_on_host(tx: Transaction, resource_id: str) -> tuple[str, str]:
    """Find the interface that an operator means by its id or its instance's, and its host, whatever its account.

    Gives interface id and host id; raises MalformedId, NotFound, WrongState when it is on no host now.
    """
    interface = _interface_of(tx, resource_id)
    return interface.id, interface.host_id or ""


def look(tx: Transaction, resource_id: str, to_address: str) -> Look:
    """Prepare a look at the way of packets from an interface to an address.

    Raises MalformedId, NotFound, WrongState as `interface_on_host`; InvalidParameter when it is no address, or of a
    family that the interface has none of.
    """
    try:
        version = ip_address(to_address).version
    except ValueError:
        raise InvalidParameter(f"'{to_address}' is no IPv4 or IPv6 address") from None
    interface = _interface_of(tx, resource_id)
    source: str | None = interface.private_address
    if version == 6:
        source = tx.session.scalar(
            select(InterfaceAddress.address)
            .where(InterfaceAddress.interface_id == interface.id, InterfaceAddress.address.contains(":"))
            .limit(1)
        )
    if source is None:
        raise InvalidParameter(f"{interface.id} has no IPv{version} address, so nothing of it goes to {to_address}")
    return Look(interface.host_id or "", interface.vpc_id, interface.subnet_id, interface.id, source, to_address)


def _interface_of(tx: Transaction, resource_id: str) -> NetworkInterface:
    kind = ids.resource_type_of(resource_id)
    query = select(NetworkInterface)
    if kind == "instance":
        query = query.where(NetworkInterface.instance_id == resource_id, NetworkInterface.device_index == 0)
    elif kind == "network-interface":
        query = query.where(NetworkInterface.id == resource_id)
    else:
        raise MalformedId("network-interface", resource_id)
    interface = tx.session.scalar(query)
    if interface is None:
        raise NotFound(kind, resource_id)
    if interface.host_id is None:
        raise WrongState(kind, f"{interface.id} is on no host now: its instance is stopped, or it is attached to none")
    return interface
