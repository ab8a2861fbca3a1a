"""The host name of an instance inside its VPC: set at launch, else by its subnet, and changeable later.

See https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-instance-naming.html.
"""

from dataclasses import dataclass
from typing import Any, Final

from stead_controller.db.tables import Instance, Subnet
from stead_controller.desired import desired_state
from stead_controller.errors import InvalidParameter, WrongState
from stead_controller.request import lookup
from stead_controller.request.caller import Caller
from stead_controller.request.transaction import Transaction
from stead_controller.resources.network.subnet_attributes import HOSTNAME_TYPES, check_hostname_type

_ENDED: Final = ("shutting-down", "terminated")


@dataclass(frozen=True, slots=True)
class NameOptions:
    """An instance's type of host name, and the DNS records of its resource name; None keeps the subnet's or its own.

    Names by address always have their records.
    """

    hostname_type: str | None = None
    a_record: bool | None = None
    aaaa_record: bool | None = None

    def check(self, parameter: str) -> None:
        """Raise InvalidParameter for an unknown type of host names; `parameter` is the request's parameter."""
        if self.hostname_type not in (None, *HOSTNAME_TYPES):
            raise InvalidParameter(
                f"Value ({self.hostname_type}) for parameter {parameter} is invalid. "
                f"It must be one of {', '.join(HOSTNAME_TYPES)}."
            )


def check_family(subnet: Subnet, request: NameOptions, parameter: str) -> None:
    """Raise InvalidParameter for names and records of IPv4 in an IPv6-only subnet."""
    check_hostname_type(subnet, request.hostname_type, parameter)
    if subnet.cidr_block is None and request.a_record:
        raise InvalidParameter(
            f"Invalid value 'true' for enableResourceNameDnsARecord. Subnet {subnet.id} is an IPv6 only subnet."
        )


def settle(request: NameOptions, subnet: Subnet) -> dict[str, Any]:
    """Return the columns of an instance launched into a subnet; raises InvalidParameter if that is IPv6-only."""
    check_family(subnet, request, "hostnameType")
    return {
        "hostname_type": request.hostname_type or subnet.hostname_type,
        "resource_name_a_record": subnet.resource_name_a_record if request.a_record is None else request.a_record,
        "resource_name_aaaa_record": (
            subnet.resource_name_aaaa_record if request.aaaa_record is None else request.aaaa_record
        ),
    }


def modify(tx: Transaction, caller: Caller, instance_id: str, request: NameOptions) -> None:
    """Change an instance's type of host name while it is stopped, or the records of its resource name at any time.

    Raises MalformedId, NotFound, InvalidParameter, WrongState.
    """
    request.check("privateDnsHostnameType")
    instance = lookup.find(tx, caller, "instance", Instance, instance_id)
    if instance.state in _ENDED:
        raise WrongState("instance", f"The instance '{instance.id}' is not in a state in which it can be modified.")
    check_family(tx.session.get_one(Subnet, instance.subnet_id), request, "privateDnsHostnameType")
    if request.hostname_type not in (None, instance.hostname_type):
        if instance.state != "stopped":
            raise WrongState("instance", f"The instance '{instance.id}' is not in the 'stopped' state.")
        instance.hostname_type = request.hostname_type
    if request.a_record is not None:
        instance.resource_name_a_record = request.a_record
    if request.aaaa_record is not None:
        instance.resource_name_aaaa_record = request.aaaa_record
    desired_state.refresh_instance(tx, instance.id)
