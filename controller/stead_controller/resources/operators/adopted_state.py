"""Checks that a host has nothing to do for what was adopted: rows must give the desired state that it was last sent.

What shows in a guest's metadata only, and what a host changes without any effect for a running guest, may differ.
"""

from collections.abc import Iterable
from typing import Final

from google.protobuf.message import Message
from sqlalchemy import select

from stead_controller.db.tables import HostResource, VpcResource
from stead_controller.desired.parts import PARTS
from stead_controller.errors import WrongState
from stead_controller.request.transaction import Transaction
from stead_controller.resources.operators.unclaimed_resources import Unclaimed
from stead_proto.v1 import desired_pb2 as pb

_FREE: Final = {
    "machine": ("metadata", "cpu_credits", "volumes_limit", "firmware", "firmware_kept", "record"),
    "interface": (
        "security_group_ids",
        "private_dns_name",
        "public_dns_name",
        "host_name",
        "bandwidth",
        "record",
    ),
    "volume": ("iops", "throughput", "record"),
}
_ALWAYS_FREE: Final = "rows"
"""The fields of each kind that may differ."""


def require_unchanged(tx: Transaction, taken: Iterable[Unclaimed]) -> None:
    """Raise WrongState where what a host is now sent of an adopted resource is not what it has."""
    for each in taken:
        assert each.resource is not None  # else it is not taken
        if changed := differing(each.resource, pb.Resource.FromString(_sent(tx, each) or b"")):
            raise WrongState(
                "instance",
                f"To adopt {each.id} would change it on its host ({', '.join(changed)}): it stays as it is. Restore a "
                "newer backup, or remove it.",
            )


def _sent(tx: Transaction, one: Unclaimed) -> bytes | None:
    """Return what a host is now sent of a resource: by its own outbox, or with all hosts of a VPC."""
    if one.kind not in PARTS:
        return tx.session.get_one(HostResource, one.key, populate_existing=True).body
    where = (VpcResource.kind == one.kind, VpcResource.resource_id == one.id)
    return tx.session.scalar(select(VpcResource.body).where(*where))


def differing(had: pb.Resource, new: pb.Resource) -> list[str]:
    """Return the names of fields in which two states of a resource differ, beside those that may; pure."""
    kind = had.WhichOneof("body") or ""
    if new.WhichOneof("body") != kind:
        return [kind]
    before, after = _essence(had, kind), _essence(new, kind)
    names = [field.name for field in before.DESCRIPTOR.fields]
    return [name for name in names if getattr(before, name) != getattr(after, name)]


def _essence(resource: pb.Resource, kind: str) -> Message:
    """Copy what may not differ of a resource; a key is as sealed, whether the host or the database says it."""
    copy = pb.Resource()
    copy.CopyFrom(resource)
    body: Message = getattr(copy, kind)
    for name in (*_FREE.get(kind, ()), _ALWAYS_FREE):
        if name in body.DESCRIPTOR.fields_by_name:
            body.ClearField(name)
    if isinstance(body, pb.Volume) and body.sealed_key:
        body.encryption_key = body.sealed_key
        body.ClearField("sealed_key")
    if isinstance(body, pb.Volume):  # by whom it is used, not by which certificate
        body.export.ClearField("client_enrolment")
        body.export.ClearField("client_former_enrolment")
    if isinstance(body, pb.Machine):
        body.threads_per_core = body.threads_per_core or 1
        for interface in body.interfaces:
            interface.ClearField("security_groups")
        if body.tpm.sealed_key:
            body.tpm.encryption_key = body.tpm.sealed_key
            body.tpm.ClearField("sealed_key")
    if isinstance(body, pb.Interface):
        for address in body.public_addresses:
            address.ClearField("allocation_id")
    return body
