"""Instance types by name: those of the catalogue, and those that an operator has added."""

import json
from functools import lru_cache
from typing import Final

from sqlalchemy import bindparam, select

from stead_controller.catalog import instance_types
from stead_controller.catalog.instance_type import InstanceType
from stead_controller.catalog.instance_type_document import read_family
from stead_controller.db.prepared import Prepared
from stead_controller.db.tables import OwnInstanceType
from stead_controller.request.transaction import Transaction

_DOCUMENT: Final = Prepared(select(OwnInstanceType.document).where(OwnInstanceType.name == bindparam("name")))
_DOCUMENTS: Final = Prepared(select(OwnInstanceType.document))


def find(tx: Transaction, name: str) -> InstanceType | None:
    """Return the type of that exact name, if any; the database is asked only for what is not in the catalogue."""
    known = instance_types.find(name)
    if known is not None:
        return known
    row = _DOCUMENT.first(tx.connection, {"name": name})
    return None if row is None else read(row[0])


def own(tx: Transaction) -> list[InstanceType]:
    """Return the types that an operator has added."""
    return [read(document) for (document,) in _DOCUMENTS.all(tx.connection, {})]


def everything(tx: Transaction) -> list[InstanceType]:
    """Return all types, sorted by name."""
    added = own(tx)
    return sorted((*instance_types.ALL.values(), *added), key=lambda kind: kind.name)


@lru_cache(maxsize=1024)
def read(document: str) -> InstanceType:
    """Read a stored type; raises BadDocumentError for one that is none."""
    (kind,) = read_family("type", json.loads(document))
    return kind
