"""Instance types of the operator's own: added and removed while instances run."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from sqlalchemy import delete, select

from stead_controller.catalog import instance_types as catalogue
from stead_controller.catalog.instance_type import InstanceType
from stead_controller.catalog.instance_type_document import BadDocumentError
from stead_controller.db.tables import CapacityReservation, Instance, OwnInstanceType
from stead_controller.errors import AlreadyExists, InUse, InvalidParameter, NotFound
from stead_controller.request import instance_types
from stead_controller.request.transaction import Transaction

_LEAST_MEMORY: Final = 96  # MiB: below it not even the image `micro` boots
_FAMILIES: Final = frozenset(kind.family for kind in catalogue.ALL.values())


def add(tx: Transaction, name: str, facts: Mapping[str, Any], now: datetime) -> InstanceType:
    """Add a type `family.size`; `facts` are those of its size and `threads_per_core`.

    Raises InvalidParameter, and AlreadyExists for a name that is taken.
    """
    family, _, size = name.partition(".")
    if family in _FAMILIES:
        raise InvalidParameter(f"The family {family} has the sizes of Stead's catalogue, and no others.")
    if instance_types.find(tx, name) is not None:
        raise AlreadyExists("instance-type", f"There is an instance type {name} already.")
    figures = dict(facts)
    memory = figures.get("memory_mib")
    if isinstance(memory, int) and memory < _LEAST_MEMORY:
        raise InvalidParameter(f"A guest needs {_LEAST_MEMORY} MiB of memory or more: with {memory} MiB none boots.")
    document = {
        "family": family,
        "manufacturer": "",
        "architecture": "x86_64",
        "threads_per_core": figures.pop("threads_per_core", 1),
        "current_generation": True,
        "ebs_optimized": "default" if facts.keys() & {"ebs_mbps", "ebs_iops"} else "unsupported",
        "sizes": {size: figures},
    }
    text = json.dumps(document, sort_keys=True)
    try:
        made = instance_types.read(text)
    except BadDocumentError as error:
        raise InvalidParameter(str(error)) from error
    tx.session.add(OwnInstanceType(name=name, document=text, created=now))
    return made


def remove(tx: Transaction, name: str) -> None:
    """Remove a type; raises NotFound, InvalidParameter for one of the catalogue, and InUse.

    No instance may have it, and no active capacity reservation. All instances are looked at, since this is done once in
    a while: no index is worth its cost at each launch.
    """
    if catalogue.find(name) is not None:
        raise InvalidParameter(f"The instance type {name} is of Stead's catalogue.")
    if instance_types.find(tx, name) is None:
        raise NotFound("instance-type", [name])
    query = select(Instance.id).where(Instance.instance_type == name, Instance.state != "terminated").limit(1)
    used = tx.session.scalar(query)
    if used is not None:
        raise InUse(f"The instance {used} has the type {name}.")
    active = CapacityReservation.instance_type == name, CapacityReservation.state == "active"
    reserved = tx.session.scalar(select(CapacityReservation.id).where(*active).limit(1))
    if reserved is not None:
        raise InUse(f"The capacity reservation {reserved} has the type {name}.")
    tx.session.execute(delete(OwnInstanceType).where(OwnInstanceType.name == name))
