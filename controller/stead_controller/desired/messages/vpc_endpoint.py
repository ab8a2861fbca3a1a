"""Builds a `VpcEndpoint` from an endpoint's row: its service's addresses, ports and names."""

import json
from collections.abc import Iterable
from typing import Final

from sqlalchemy import select

from stead_controller.db.session import Transaction
from stead_controller.db.tables import (
    CloudFact,
    NetworkInterface,
    PrefixList,
    PrefixListEntry,
    VpcEndpoint,
    VpcEndpointGroup,
    VpcEndpointInterface,
)
from stead_controller.desired.endpoint_names import endpoint_name, private_names, read_service
from stead_controller.desired.messages import noted_rows
from stead_proto.v1 import desired_pb2 as pb

FACT: Final = "endpoint_ports"
"""The name of what the database knows of ports: those of the APIs, and the controllers' own for endpoints."""

_GATEWAY: Final = "Gateway"


def draw(tx: Transaction, endpoint_id: str) -> pb.VpcEndpoint | None:
    """An endpoint as hosts see it; None when it is gone."""
    endpoint = tx.session.get(VpcEndpoint, endpoint_id)
    if endpoint is None:
        return None
    known = json.loads(tx.session.scalars(select(CloudFact.value).where(CloudFact.name == FACT)).one())
    region, code = read_service(endpoint.service)
    message = pb.VpcEndpoint(
        vpc_id=endpoint.vpc_id,
        service=code,
        ports=known["ports"],
        controller_port=known["controller_port"],
        rows=noted_rows.of(
            tx,
            (VpcEndpoint, VpcEndpoint.id == endpoint_id),
            (VpcEndpointGroup, VpcEndpointGroup.endpoint_id == endpoint_id),
        ),
    )
    if endpoint.endpoint_type == _GATEWAY:
        message.addresses.extend(_addresses(tx, endpoint.service))
        message.names.append(private_names(code, region)[0])
    else:
        message.interface_names.extend(_names(tx, endpoint, private_names(code, region)))
    return message


def _addresses(tx: Transaction, service: str) -> Iterable[str]:
    blocks = (
        select(PrefixListEntry.cidr)
        .join(PrefixList, PrefixList.id == PrefixListEntry.prefix_list_id)
        .where(PrefixList.name == service, PrefixListEntry.last_version.is_(None))
        .order_by(PrefixListEntry.cidr)
    )
    return [cidr.partition("/")[0] for cidr in tx.session.scalars(blocks)]


def _names(tx: Transaction, endpoint: VpcEndpoint, private: Iterable[str]) -> Iterable[pb.EndpointName]:
    """The names of an interface endpoint, resolving only to its available interfaces.

    `private` are those of its service; they are left out if they are meant for resolvers outside of the VPC only.
    """
    query = (
        select(VpcEndpointInterface.zone, NetworkInterface.private_address)
        .join(NetworkInterface, NetworkInterface.id == VpcEndpointInterface.interface_id)
        .where(VpcEndpointInterface.endpoint_id == endpoint.id, VpcEndpointInterface.state == "available")
        .order_by(VpcEndpointInterface.zone)
    )
    found = [(row[0], row[1]) for row in tx.session.execute(query) if row[1] is not None]
    if not found:
        return
    addresses = [address for _, address in found]
    yield pb.EndpointName(name=endpoint_name(endpoint.id, endpoint.service), addresses=addresses)
    for zone, address in found:
        yield pb.EndpointName(name=endpoint_name(endpoint.id, endpoint.service, zone), addresses=[address])
    if endpoint.private_dns and not endpoint.private_dns_only_inbound:
        for name in private:
            yield pb.EndpointName(name=name, addresses=addresses, is_private=True)


def ids(tx: Transaction, vpc_id: str) -> Iterable[str]:
    """All endpoints of a VPC."""
    return tx.session.scalars(select(VpcEndpoint.id).where(VpcEndpoint.vpc_id == vpc_id)).all()
