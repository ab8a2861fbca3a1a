"""NAT gateways as EC2 shows and filters them."""

from typing import Any, Final

from stead_controller.db.tables import NatGateway
from stead_controller.request import lookup
from stead_controller.request.caller import Caller
from stead_controller.request.conditions import Condition, Selection, text
from stead_controller.request.transaction import Transaction
from stead_controller.resources import tags

FILTERS: Final[dict[str, Condition]] = {
    "nat-gateway-id": text(NatGateway.id),
    "state": text(NatGateway.state),
    "subnet-id": text(NatGateway.subnet_id),
    "vpc-id": text(NatGateway.vpc_id),
}
_ADDRESS_STATUS: Final = {
    "pending": "associating",
    "available": "succeeded",
    "failed": "failed",
    "deleting": "disassociating",
    "deleted": "succeeded",
}


def describe(tx: Transaction, caller: Caller, asked: Selection) -> list[dict[str, Any]]:
    """List the caller's NAT gateways in EC2's shape, sorted by id; raises MalformedId, NotFound."""
    found = lookup.select_page(tx, caller, "natgateway", NatGateway, asked, conditions=FILTERS)
    tagged = tags.of(tx, caller.account_id, [gateway.id for gateway in found])
    return [_shown(gateway) | {"Tags": tagged.get(gateway.id, [])} for gateway in found]


def show(tx: Transaction, caller: Caller, gateway_id: str) -> dict[str, Any]:
    """Show one of the caller's NAT gateways."""
    (shown,) = describe(tx, caller, Selection((gateway_id,)))
    return shown


def _shown(gateway: NatGateway) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "NatGatewayId": gateway.id,
        "State": gateway.state,
        "ConnectivityType": gateway.connectivity,
        "AvailabilityMode": "zonal",
        "SubnetId": gateway.subnet_id,
        "VpcId": gateway.vpc_id,
        "CreateTime": gateway.created,
        "DeleteTime": gateway.deleted,
        "NatGatewayAddresses": [_address(gateway)],
    }
    if gateway.failure_code:
        shown |= {"FailureCode": gateway.failure_code, "FailureMessage": gateway.failure_message}
    return shown


def _address(gateway: NatGateway) -> dict[str, Any]:
    return {
        "AllocationId": gateway.allocation_id,
        "AssociationId": gateway.association_id,
        "NetworkInterfaceId": gateway.interface_id,
        "PrivateIp": gateway.private_address,
        "PublicIp": gateway.public_address,
        "IsPrimary": True,
        "Status": _ADDRESS_STATUS[gateway.state],
    }
