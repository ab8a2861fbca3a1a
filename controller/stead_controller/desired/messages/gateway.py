"""Builds a `NatGateway`, or an `EndpointInterface`, for its home host; its interface is an `Interface` beside it."""

from stead_controller.db.session import Transaction
from stead_controller.db.tables import NatGateway, NetworkInterface, VpcEndpointInterface
from stead_controller.desired.messages import noted_rows
from stead_proto.v1 import desired_pb2 as pb


def of_nat_gateway(tx: Transaction, gateway_id: str, interface: NetworkInterface) -> pb.NatGateway:
    """A NAT gateway, which has an interface."""
    rows = noted_rows.of(
        tx, (NatGateway, NatGateway.id == gateway_id), (NetworkInterface, NetworkInterface.id == interface.id)
    )
    return pb.NatGateway(vpc_id=interface.vpc_id, interface_id=interface.id, rows=rows)


def of_endpoint_interface(tx: Transaction, endpoint_id: str, interface: NetworkInterface) -> pb.EndpointInterface:
    """An interface of an interface endpoint."""
    rows = noted_rows.of(
        tx,
        (VpcEndpointInterface, VpcEndpointInterface.interface_id == interface.id),
        (NetworkInterface, NetworkInterface.id == interface.id),
    )
    return pb.EndpointInterface(vpc_id=interface.vpc_id, endpoint_id=endpoint_id, rows=rows)
