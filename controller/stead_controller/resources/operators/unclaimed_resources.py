"""What hosts have and this database, an older copy, does not know: listed, found and removed.

What hosts say of it is stored by `hosts/unclaimed.py`; `adoption.py` takes it over.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import delete, select

from stead_controller.db.tables import HostError, UnclaimedAddress, UnclaimedResource, Volume
from stead_controller.desired import host_errors, outbox
from stead_controller.desired.parts import PARTS
from stead_controller.errors import InvalidParameter, NotFound
from stead_controller.request.transaction import Transaction
from stead_controller.resources.host_capacity import unclaimed_room
from stead_proto.v1 import desired_pb2 as desired
from stead_proto.v1 import host_pb2 as pb

type Key = tuple[str, int, str]
"""The id of a host, and the kind and the id of a resource that it has."""

NO_WORD: Final = "its host has not said enough of it: its agent is of an earlier release, or it is too large"


@dataclass(frozen=True, slots=True)
class Unclaimed:
    """A resource that a host has and this database does not know.

    `resource` is the host's own word, None where it has said none. `part_of` is the instance that it goes with, and may
    be empty, as `account_id`.
    """

    host_id: str
    kind: int
    id: str
    since: datetime
    resource: desired.Resource | None
    security_groups: Sequence[desired.Resource]
    part_of: str
    account_id: str

    @property
    def key(self) -> Key:
        """What names it in the database."""
        return (self.host_id, self.kind, self.id)


def list_all(tx: Transaction, host_id: str = "") -> list[Unclaimed]:
    """List what hosts, or one, have and this database does not know: instances first, each with its parts."""
    query = select(HostError).where(HostError.error == host_errors.UNCLAIMED)
    if host_id:
        query = query.where(HostError.host_id == host_id)
    errors = tx.session.scalars(query).all()
    said = {(row.host_id, row.kind, row.resource_id): row.said for row in _rows(tx, host_id)}
    words = {key: pb.Unclaimed.FromString(content) for key, content in said.items() if content is not None}
    owners = _owners(words)
    found = [_unclaimed(error, words, owners) for error in errors]
    return sorted(found, key=lambda each: (each.host_id, each.part_of or each.id, each.part_of != "", each.id))


def find(tx: Transaction, resource_id: str) -> list[Unclaimed]:
    """Find what is unclaimed by its id, on each host that has it, where nothing else is read; raises NotFound."""
    where = (HostError.error == host_errors.UNCLAIMED, HostError.resource_id == resource_id)
    host_ids = tx.session.scalars(select(HostError.host_id).where(*where).order_by(HostError.host_id)).all()
    if found := [each for host_id in host_ids for each in list_all(tx, host_id) if each.id == resource_id]:
        return found
    raise NotFound("unclaimed resource", resource_id, message=f"No host has an unclaimed {resource_id}.")


def remove(tx: Transaction, resource_ids: Collection[str], host_id: str = "") -> list[Unclaimed]:
    """Have hosts, or one, remove what is unclaimed, for good, and return all that goes.

    With an instance go its interfaces, and the volumes that end with it; a base goes when nothing is laid over it any
    more. Raises NotFound, and InvalidParameter for what must not go by itself; then nothing goes.
    """
    everything = list_all(tx)
    chosen = [each for each in everything if each.id in resource_ids and host_id in {"", each.host_id}]
    if missing := sorted(set(resource_ids) - {each.id for each in chosen}):
        where = f"{host_id} has no" if host_id else "No host has an"
        raise NotFound("unclaimed resource", missing, message=f"{where} unclaimed {', '.join(missing)}.")
    going = {each.key: each for each in chosen}
    for each in chosen:
        mine = (part for part in everything if part.part_of == each.id and part.host_id == each.host_id)
        going |= {part.key: part for part in mine if _ends_with(part)}
    bases = [each for each in everything if each.kind == desired.KIND_BASE]
    for base in bases:
        above = _laid_over(tx, base, everything)
        if above and above <= {each.id for each in going.values() if each.host_id == base.host_id}:
            going[base.key] = base
    for each in chosen:
        _require_loose(tx, each, everything, going)
    for each in going.values():
        outbox.remove_each(tx, (each.kind, each.id), [each.host_id])
    return list(going.values())


def forget(tx: Transaction, keys: Iterable[Key]) -> None:
    """Delete the rows of what is unclaimed no more, and release its room and its addresses."""
    for host_id, kind, resource_id in keys:
        unclaimed_room.release(tx, tx.session.get_one(UnclaimedResource, (host_id, kind, resource_id)))
        for table in (UnclaimedAddress, UnclaimedResource, HostError):
            mine = (table.host_id == host_id, table.kind == kind, table.resource_id == resource_id)
            tx.session.execute(delete(table).where(*mine).execution_options(synchronize_session="fetch"))


def _rows(tx: Transaction, host_id: str) -> Iterable[UnclaimedResource]:
    query = select(UnclaimedResource)
    return tx.session.scalars(query.where(UnclaimedResource.host_id == host_id) if host_id else query).all()


def _owners(words: dict[Key, pb.Unclaimed]) -> dict[tuple[int, str], tuple[str, str]]:
    """Return the instance and the account of each part of a machine, by kind and id, and of the machine itself."""
    owners: dict[tuple[int, str], tuple[str, str]] = {}
    for said in words.values():
        machine, account_id = said.resource.machine, said.resource.machine.metadata.account_id
        owners[desired.KIND_MACHINE, said.resource.id] = ("", account_id)
        for disk in machine.disks:
            owners[desired.KIND_VOLUME, disk.volume_id] = (said.resource.id, account_id)
        for interface in machine.interfaces:
            owners[desired.KIND_INTERFACE, interface.interface_id] = (said.resource.id, account_id)
        if said.resource.HasField("nat_gateway"):
            owners[desired.KIND_INTERFACE, said.resource.nat_gateway.interface_id] = (said.resource.id, "")
    for (_, kind, resource_id), said in words.items():
        if kind in PARTS and kind != desired.KIND_VPC:
            body = said.resource.WhichOneof("body")
            owners[kind, resource_id] = (getattr(said.resource, body).vpc_id if body else "", "")
    return owners


def _unclaimed(
    error: HostError, words: dict[Key, pb.Unclaimed], owners: dict[tuple[int, str], tuple[str, str]]
) -> Unclaimed:
    said = words.get((error.host_id, error.kind, error.resource_id))
    part_of, account_id = owners.get((error.kind, error.resource_id), ("", ""))
    if said is not None:
        account_id = account_id or said.resource.volume.record.account_id
    return Unclaimed(
        error.host_id,
        error.kind,
        error.resource_id,
        error.since,
        said.resource if said is not None else None,
        said.security_groups if said is not None else (),
        part_of,
        account_id,
    )


def _ends_with(part: Unclaimed) -> bool:
    """Tell whether a part of an instance goes with it: interfaces, volumes elsewhere, and volumes that say so."""
    if part.kind != desired.KIND_VOLUME or part.resource is None:
        return part.kind == desired.KIND_INTERFACE
    volume = part.resource.volume
    return volume.HasField("remote") or volume.record.delete_on_termination


def _laid_over(tx: Transaction, base: Unclaimed, everything: Collection[Unclaimed]) -> set[str]:
    """Return the volumes on a base's host that are laid over it, whether this database knows them or not."""
    known = select(Volume.id).where(Volume.snapshot_id == base.id, Volume.host_id == base.host_id)
    return set(tx.session.scalars(known)) | {
        each.id
        for each in everything
        if each.host_id == base.host_id and each.resource is not None and each.resource.volume.base_id == base.id
    }


def _require_loose(tx: Transaction, one: Unclaimed, everything: Collection[Unclaimed], going: Collection[Key]) -> None:
    """Raise InvalidParameter for a part of an instance or a VPC, or a base under a disk, that would go by itself."""
    if one.kind in PARTS:
        raise InvalidParameter(f"{one.id} goes by itself, with the last that {one.host_id} has in its VPC.")
    if one.part_of:
        owners = [each for each in everything if each.id == one.part_of]  # it may use a volume from elsewhere
        if any(each.key not in going for each in owners):
            raise InvalidParameter(f"{one.id} is a part of {one.part_of}, which has it in use: remove that first.")
    if one.kind == desired.KIND_BASE:
        gone = {resource_id for host_id, _, resource_id in going if host_id == one.host_id}
        if above := _laid_over(tx, one, everything) - gone:
            raise InvalidParameter(f"{', '.join(sorted(above))} is laid over {one.id}: remove that first.")
