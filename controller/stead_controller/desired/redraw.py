"""After an upgrade of the controller, all desired state is built again from the rows: only what differs is written.

The code that builds it is identified by a hash of its source, so a new version cannot be forgotten.
"""

import hashlib
from functools import partial
from pathlib import Path
from typing import Final

from sqlalchemy import select, union

from stead_controller.db.session import Database, Transaction
from stead_controller.db.tables import (
    CloudFact,
    Host,
    Instance,
    NatGateway,
    NetworkInterface,
    Volume,
    VpcEndpointInterface,
    VpcHost,
    VpcResource,
)
from stead_controller.db.tables import Vpc as VpcRow
from stead_controller.desired import desired_state, topics
from stead_proto.v1 import desired_pb2 as pb

_FACT: Final = "drawn_by"


async def redraw(database: Database) -> bool:
    """Build all desired state again if that was not done since this code changed; tell whether it was done.

    This takes one transaction for each VPC and each host; after a crash in between it starts from the beginning.
    """
    drawn_by = _digest()
    if await database.run(_fact, writes=False) == drawn_by:
        return False
    vpc_ids = union(select(VpcRow.id), select(VpcResource.vpc_id))
    for vpc_id in await database.run(lambda tx: list(tx.session.scalars(vpc_ids)), writes=False):
        await database.run(partial(topics.draw_vpc, vpc_id=vpc_id))
    for host_id in await database.run(lambda tx: list(tx.session.scalars(select(Host.id))), writes=False):
        await database.run(partial(_draw_host, host_id=host_id))
    await database.run(lambda tx: tx.session.merge(CloudFact(name=_FACT, value=drawn_by)))
    return True


def _draw_host(tx: Transaction, host_id: str) -> None:
    instances = select(Instance).where(Instance.host_id == host_id, Instance.state.not_in(desired_state.ENDED))
    desired_state.refresh_instances(tx, host_id, tx.session.scalars(instances).all())
    for volume in tx.session.scalars(select(Volume).where(Volume.host_id == host_id)).all():
        desired_state.refresh_volume(tx, volume)
    gateways = select(NatGateway.id).where(
        NatGateway.host_id == host_id, NatGateway.state.in_(("pending", "available"))
    )
    for gateway_id in tx.session.scalars(gateways).all():
        desired_state.refresh_nat_gateway(tx, gateway_id)
    row = VpcEndpointInterface
    for interface_id in tx.session.scalars(
        select(row.interface_id).where(row.host_id == host_id, row.state != "deleting")
    ).all():
        desired_state.refresh_endpoint_interface(tx, interface_id)
    vpc_ids = union(
        select(NetworkInterface.vpc_id).where(NetworkInterface.host_id == host_id),
        select(VpcHost.vpc_id).where(VpcHost.host_id == host_id),
    )
    for vpc_id in tx.session.scalars(vpc_ids).all():
        topics.refresh_host(tx, vpc_id, host_id)


def _fact(tx: Transaction) -> str:
    return tx.session.scalar(select(CloudFact.value).where(CloudFact.name == _FACT)) or ""


def _digest() -> str:
    """Hash the code that builds the messages, and the messages' definitions."""
    digest = hashlib.sha256(pb.DESCRIPTOR.serialized_pb)
    for path in sorted((Path(__file__).parent / "messages").glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()
