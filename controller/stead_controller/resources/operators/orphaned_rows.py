"""Finds rows that name what is not there any more, and mends them: they are deleted, or name nothing from then on.

Foreign keys make most of them impossible; here is what has none, since a name is of several tables, or outlives what it
names for a while. What is billed or in use is left as it is: a meter, a disk, an address that somebody has.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, delete, inspect, or_, select, tuple_

from stead_controller.catalog.nouns import NOUNS
from stead_controller.db.tables import (
    AccessKey,
    ElasticAddress,
    IamAttachedPolicy,
    IamGroup,
    IamInlinePolicy,
    IamInstanceProfile,
    IamMfaDevice,
    IamOidcProvider,
    IamPolicy,
    IamRole,
    IamTag,
    IamUser,
    Instance,
    NetworkInterface,
    PublicAddress,
    Tag,
    UnclaimedResource,
    Volume,
)
from stead_controller.db.tables.base import Base
from stead_controller.request.transaction import Transaction
from stead_controller.resources.instances import volume_attachments
from stead_controller.resources.network import network_interface_attachments
from stead_proto.v1 import desired_pb2 as pb

MOST: Final = 1000
"""How many of each kind are found at once."""

_TAGGED_BY_IAM: Final = (IamUser, IamRole, IamPolicy, IamInstanceProfile, IamOidcProvider, IamMfaDevice)
_PRINCIPALS: Final = (IamUser, IamRole, IamGroup)
_ATTACHED: Final = ("attaching", "attached")


@dataclass(frozen=True, slots=True)
class Orphan:
    """A row that names what is not there: its kind, its own name, what it names, and what becomes of it."""

    kind: str
    id: str
    names: str
    done: str


@dataclass(frozen=True, slots=True)
class _Kind:
    """Rows of `model` that name, in `named`, what is not there; without `mend` they are deleted."""

    name: str
    model: type[Base]
    named: Any
    is_orphan: ColumnElement[bool]
    done: str = "deleted"
    mend: Callable[[Transaction, Any, datetime], None] | None = None

    def find(self, tx: Transaction) -> Sequence[Any]:
        """Return the orphans, in the order of their names."""
        key = inspect(self.model).primary_key
        return tx.session.scalars(select(self.model).where(self.is_orphan).order_by(*key).limit(MOST)).all()

    def shown(self, row: Any) -> Orphan:
        """Describe an orphan."""
        own = " ".join(str(each) for each in inspect(row).identity)
        return Orphan(self.name, own, str(getattr(row, self.named.key)), self.done)

    def put_right(self, tx: Transaction, rows: Sequence[Any], now: datetime) -> None:
        """Mend orphans."""
        if self.mend is not None:
            for row in rows:
                self.mend(tx, row, now)
        elif rows:
            key = inspect(self.model).primary_key
            tx.session.execute(delete(self.model).where(tuple_(*key).in_([inspect(row).identity for row in rows])))


def find(tx: Transaction) -> list[Orphan]:
    """List orphans, at most `MOST` of each kind."""
    return [kind.shown(row) for kind in _KINDS for row in kind.find(tx)]


def mend(tx: Transaction, now: datetime) -> list[Orphan]:
    """Mend what `find` lists, and return it."""
    mended: list[Orphan] = []
    for kind in _KINDS:
        rows = kind.find(tx)
        mended += [kind.shown(row) for row in rows]
        kind.put_right(tx, rows, now)
        tx.session.flush()
    return mended


def _in_none_of(column: Any, models: Iterable[Any]) -> ColumnElement[bool]:
    """Tell whether no row of these tables has the id that a column names."""
    missing: ColumnElement[bool] = column.is_not(None)
    for model in models:
        missing &= ~select(model.id).where(model.id == column).exists()
    return missing


def _tags_of_nothing() -> ColumnElement[bool]:
    """Tell whether a tag's resource is gone, by the table of its type."""
    found = [
        (Tag.resource_type == noun.type) & _in_none_of(Tag.resource_id, [noun.table])
        for noun in NOUNS
        if noun.table is not None
    ]
    return or_(*found)


def _of_no_user(model: Any) -> ColumnElement[bool]:
    """Tell whether a row's user is gone; what is the root user's names its account."""
    is_of_one: ColumnElement[bool] = model.user_id != model.account_id
    return is_of_one & _in_none_of(model.user_id, [IamUser])


def _attached_to_nothing(model: Any) -> ColumnElement[bool]:
    """Tell whether an instance is gone that a row is attached to; one that a host still has unclaimed may come back."""
    unclaimed = select(UnclaimedResource.host_id).where(
        UnclaimedResource.kind == pb.KIND_MACHINE, UnclaimedResource.resource_id == model.instance_id
    )
    is_attached: ColumnElement[bool] = model.attachment_state.in_(_ATTACHED)  # else its host is about to release it
    return is_attached & _in_none_of(model.instance_id, [Instance]) & ~unclaimed.exists()


def _free_volume(tx: Transaction, volume: Volume, now: datetime) -> None:
    """Make a volume available; it stays, even if it was to end with its instance."""
    volume.delete_on_termination = False
    volume_attachments.begin_detaching(tx, volume)
    volume_attachments.settle_detached(tx, volume, now)


def _free_interface(tx: Transaction, interface: NetworkInterface, _now: datetime) -> None:
    """Make an interface available, with its addresses and groups."""
    network_interface_attachments.settle_detached(tx, interface)


def _free_address(_tx: Transaction, address: PublicAddress, now: datetime) -> None:
    """Release a public address; it rests before somebody else gets it."""
    address.allocation_id = address.association_id = None
    address.released = now


def _free_device(_tx: Transaction, device: IamMfaDevice, _now: datetime) -> None:
    """Make a second factor nobody's."""
    device.user_id = device.enabled = None


_KINDS: Final = (
    _Kind("tag", Tag, Tag.resource_id, _tags_of_nothing()),
    _Kind("IAM tag", IamTag, IamTag.resource_id, _in_none_of(IamTag.resource_id, _TAGGED_BY_IAM)),
    _Kind(
        "inline policy",
        IamInlinePolicy,
        IamInlinePolicy.principal_id,
        _in_none_of(IamInlinePolicy.principal_id, _PRINCIPALS),
    ),
    _Kind(
        "attachment of a policy",
        IamAttachedPolicy,
        IamAttachedPolicy.principal_id,
        _in_none_of(IamAttachedPolicy.principal_id, _PRINCIPALS),
    ),
    _Kind("access key", AccessKey, AccessKey.user_id, _of_no_user(AccessKey)),
    _Kind(
        "MFA device",
        IamMfaDevice,
        IamMfaDevice.user_id,
        _of_no_user(IamMfaDevice),
        "assigned to nobody now",
        _free_device,
    ),
    _Kind("volume", Volume, Volume.instance_id, _attached_to_nothing(Volume), "available now", _free_volume),
    _Kind(
        "network interface",
        NetworkInterface,
        NetworkInterface.instance_id,
        _attached_to_nothing(NetworkInterface),
        "available now",
        _free_interface,
    ),
    _Kind(
        "public address",
        PublicAddress,
        PublicAddress.allocation_id,
        PublicAddress.interface_id.is_(None) & _in_none_of(PublicAddress.allocation_id, [ElasticAddress]),
        "released",
        _free_address,
    ),
)
"""What has no foreign key, or cannot have one, in an order in which none makes another."""
