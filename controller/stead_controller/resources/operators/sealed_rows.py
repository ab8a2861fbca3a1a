"""All rows with values sealed by the master key, and how they are sealed again under its newest version, in pages.

A page is a transaction that finds out what is left to do, so it may be interrupted and repeated at any point.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from cryptography.exceptions import InvalidTag
from sqlalchemy import select, tuple_, update

from stead_controller.db.tables import (
    AccessKey,
    HostResource,
    IamMfaDevice,
    ImageTask,
    Instance,
    ObjectKey,
    Snapshot,
    Volume,
)
from stead_controller.desired.messages import keys
from stead_controller.desired.revisions import next_revision
from stead_controller.request.transaction import Transaction
from stead_controller.resources.iam import access_keys, mfa_devices
from stead_controller.resources.storage import object_keys, volume_keys
from stead_controller.secrets.sealing import Sealer

_PAGE: Final = 200


@dataclass(frozen=True, slots=True)
class SealedColumn:
    """A column of sealed bytes, the key columns of its row, and the sealing context by the first of them."""

    column: Any
    key: tuple[Any, ...]
    context: Callable[[str], str]


COLUMNS: Final = (
    SealedColumn(AccessKey.secret_sealed, (AccessKey.id,), access_keys.context),
    SealedColumn(IamMfaDevice.seed_sealed, (IamMfaDevice.id,), mfa_devices.context),
    SealedColumn(ObjectKey.sealed, (ObjectKey.name,), object_keys.context),
    SealedColumn(Volume.sealed_key, (Volume.id,), lambda _id: volume_keys.CONTEXT),
    SealedColumn(Snapshot.sealed_key, (Snapshot.id,), lambda _id: volume_keys.CONTEXT),
    SealedColumn(ImageTask.sealed_key, (ImageTask.id,), lambda _id: volume_keys.CONTEXT),
    SealedColumn(Instance.sealed_tpm_key, (Instance.id,), lambda _id: volume_keys.CONTEXT),
)
PLACES: Final = len(COLUMNS) + 1
"""The columns, and the desired state of hosts, whose bodies contain keys of volumes and snapshots."""


@dataclass(frozen=True, slots=True)
class Page:
    """The result of a page: how many rows were read, how many were sealed again, and the last row."""

    rows: int
    changed: int
    last: tuple[Any, ...] | None


def reseal(tx: Transaction, sealer: Sealer, place: int, after: tuple[Any, ...] | None) -> Page:
    """Seal the rows of a page again where needed; `last` is None at the end of the column."""
    if place < len(COLUMNS):
        return _reseal_column(tx, sealer, COLUMNS[place], after)
    return _reseal_and_log(tx, sealer, after)


def unreadable(tx: Transaction, sealer: Sealer) -> str | None:
    """Return a table with a value that the master key does not open, checking the first and last row of each."""
    for sealed in COLUMNS:
        for order in (sealed.key[0].asc(), sealed.key[0].desc()):
            query = select(sealed.key[0], sealed.column).where(sealed.column.is_not(None)).order_by(order).limit(1)
            for name, content in tx.session.execute(query):
                try:
                    sealer.open(content, sealed.context(name))
                except InvalidTag:
                    return str(sealed.column.class_.__tablename__)
    return None


def _reseal_column(tx: Transaction, sealer: Sealer, sealed: SealedColumn, after: tuple[Any, ...] | None) -> Page:
    query = select(*sealed.key, sealed.column).where(sealed.column.is_not(None))
    if after is not None:
        query = query.where(tuple_(*sealed.key) > tuple_(*after))
    rows = tx.session.execute(query.order_by(*sealed.key).limit(_PAGE)).all()
    changed = 0
    for *key, content in rows:
        if not sealer.is_newest(content):
            where = [column == value for column, value in zip(sealed.key, key, strict=True)]
            anew = {sealed.column: sealer.reseal(content, sealed.context(key[0]))}
            tx.session.execute(update(sealed.column.class_).where(*where).values(anew))
            changed += 1
    return Page(len(rows), changed, tuple(rows[-1][:-1]) if len(rows) == _PAGE else None)


def _reseal_and_log(tx: Transaction, sealer: Sealer, after: tuple[Any, ...] | None) -> Page:
    """Change the desired state of volumes and snapshots, whose keys stay the same.

    A host gets anew what it has of the sealed form, too, by which a later controller may adopt it: else it would be
    opened by the old version only, which the master key forgets.
    """
    name = (HostResource.host_id, HostResource.kind, HostResource.resource_id)
    query = select(HostResource).where(HostResource.kind.in_(keys.WITH_KEYS), HostResource.body.is_not(None))
    if after is not None:
        query = query.where(tuple_(*name) > tuple_(*after))
    rows = tx.session.scalars(query.order_by(*name).limit(_PAGE)).all()
    changed = revision = 0
    for row in rows:
        body = keys.opened(row.kind, row.body or b"", lambda key: _anew(sealer, key))
        if body != row.body:
            row.body = body
            changed += 1
            if row.kind in keys.GIVEN_BACK:
                row.revision = revision = revision or next_revision(tx)
    return Page(
        len(rows), changed, (rows[-1].host_id, rows[-1].kind, rows[-1].resource_id) if len(rows) == _PAGE else None
    )


def _anew(sealer: Sealer, key: bytes) -> bytes:
    return key if sealer.is_newest(key) else sealer.reseal(key, volume_keys.CONTEXT)
