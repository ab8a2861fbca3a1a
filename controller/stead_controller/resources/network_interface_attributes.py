"""One attribute of a network interface, as EC2 shows it."""

from typing import Any

from sqlalchemy import select

from stead_controller.db.tables import InterfaceGroup, NetworkInterface, PublicAddress, SecurityGroup
from stead_controller.errors import InvalidParameter, MissingParameter
from stead_controller.resources import lookup
from stead_controller.resources.caller import Caller
from stead_controller.resources.transaction import Transaction


def describe(tx: Transaction, caller: Caller, interface_id: str, attribute: str) -> dict[str, Any]:
    """Show one attribute of the caller's interface.

    Raises MalformedId, NotFound, MissingParameter, InvalidParameter.
    """
    interface = lookup.find(tx, caller, "network-interface", NetworkInterface, interface_id)
    shown: dict[str, Any] = {"NetworkInterfaceId": interface.id}
    match attribute:
        case "description":
            shown["Description"] = {"Value": interface.description}
        case "groupSet":
            shown["Groups"] = _groups(tx, interface)
        case "sourceDestCheck":
            shown["SourceDestCheck"] = {"Value": interface.source_dest_check}
        case "attachment":
            shown["Attachment"] = _attachment(interface)
        case "associatePublicIpAddress":
            shown["AssociatePublicIpAddress"] = _has_public_address(tx, interface)
        case "":
            raise MissingParameter("Attribute")
        case _:
            raise InvalidParameter(f"Value ( {attribute} ) for parameter attribute is invalid. Unknown attribute.")
    return shown


def _groups(tx: Transaction, interface: NetworkInterface) -> list[dict[str, str]]:
    query = (
        select(SecurityGroup.id, SecurityGroup.name)
        .join(InterfaceGroup, InterfaceGroup.group_id == SecurityGroup.id)
        .where(InterfaceGroup.interface_id == interface.id)
        .order_by(SecurityGroup.id)
    )
    return [{"GroupId": group_id, "GroupName": name} for group_id, name in tx.session.execute(query)]


def _attachment(interface: NetworkInterface) -> dict[str, Any] | None:
    if interface.attachment_id is None:
        return None
    return {
        "AttachmentId": interface.attachment_id,
        "AttachTime": interface.attach_time,
        "DeleteOnTermination": interface.delete_on_termination,
        "DeviceIndex": interface.device_index,
        "NetworkCardIndex": 0,
        "InstanceId": interface.instance_id,
        "InstanceOwnerId": interface.account_id,
        "Status": interface.attachment_state,
    }


def _has_public_address(tx: Transaction, interface: NetworkInterface) -> bool:
    query = select(PublicAddress.address).where(
        PublicAddress.interface_id == interface.id, PublicAddress.private_address == interface.private_address
    )
    return tx.session.scalar(query) is not None
