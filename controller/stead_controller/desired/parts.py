"""The parts of a VPC that all its hosts are sent: how each is built from rows, and which there are."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from google.protobuf.message import Message

from stead_controller.db.session import Transaction
from stead_controller.desired.messages import (
    flow_log,
    mapping,
    network_acl,
    peering,
    route_table,
    security_group,
    subnet,
    vpc,
    vpc_endpoint,
)
from stead_proto.v1 import desired_pb2 as pb


@dataclass(frozen=True, slots=True)
class Part:
    """A kind of part: `draw` returns the message of one by its id, None when it is gone; `ids` lists those of a VPC."""

    draw: Callable[[Transaction, str], Message | None]
    ids: Callable[[Transaction, str], Iterable[str]]


PARTS: Final[dict[int, Part]] = {
    pb.KIND_VPC: Part(vpc.draw, vpc.ids),
    pb.KIND_SUBNET: Part(subnet.draw, subnet.ids),
    pb.KIND_ROUTE_TABLE: Part(route_table.draw, route_table.ids),
    pb.KIND_SECURITY_GROUP: Part(security_group.draw, security_group.ids),
    pb.KIND_MAPPING: Part(mapping.draw, mapping.ids),
    pb.KIND_NETWORK_ACL: Part(network_acl.draw, network_acl.ids),
    pb.KIND_PEERING: Part(peering.draw, peering.ids),
    pb.KIND_FLOW_LOG: Part(flow_log.draw, flow_log.ids),
    pb.KIND_VPC_ENDPOINT: Part(vpc_endpoint.draw, vpc_endpoint.ids),
}
