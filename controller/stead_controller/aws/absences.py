"""EC2's own words for what does not exist, and for parameters that are missing: one table for all operations.

Tools compare these texts, so they are as EC2 writes them where its answers are quoted in public; where none is, they
follow the form that most have, `The <kind> ID '<id>' does not exist`, with EC2's name of the kind.
"""

import re
from typing import Final

from stead_controller.errors import MissingParameter, NotFound, SteadError

_PLAIN: Final = ("The {kind} '{names}' does not exist", "The {kind}s '{names}' do not exist")
_BY_ID: Final = ("The {kind} ID '{names}' does not exist", "The {kind} IDs '{names}' do not exist")
_SENTENCE: Final = ("The {kind} '{names}' does not exist.", "The {kind}s '{names}' do not exist.")
_IN_BRACKETS: Final = ("The {kind} id '[{names}]' does not exist", "The {kind} ids '[{names}]' do not exist")

# What a kind is called, and the form of the sentence for one and for several.
WORDS: Final[dict[str, tuple[str, tuple[str, str]]]] = {
    "instance": ("instance", _BY_ID),
    "reservation": ("reservation", _BY_ID),
    "image": ("image", _IN_BRACKETS),
    "snapshot": ("snapshot", _SENTENCE),
    "volume": ("volume", _SENTENCE),
    "vpc": ("vpc", _BY_ID),
    "subnet": ("subnet", _BY_ID),
    "security-group": ("security group", _PLAIN),
    "security-group-rule": ("security group rule", _BY_ID),
    "network-interface": ("networkInterface", _BY_ID),
    "network-interface-attachment": ("networkInterfaceAttachment", _BY_ID),
    "elastic-ip": ("allocation", _BY_ID),
    "elastic-ip-association": ("association", _BY_ID),
    "public-ip": ("", ("Address '{names}' not found.", "Addresses '{names}' not found.")),
    "internet-gateway": ("internetGateway", _BY_ID),
    "natgateway": ("", ("The Nat Gateway {names} was not found", "The Nat Gateways {names} were not found")),
    "egress-only-internet-gateway": ("egressOnlyInternetGateway", _BY_ID),
    "route-table": ("routeTable", _BY_ID),
    "route-table-association": ("association", _BY_ID),
    "network-acl": ("networkAcl", _BY_ID),
    "network-acl-association": ("association", _BY_ID),
    "dhcp-options": ("dhcpOption", _BY_ID),
    "vpc-peering-connection": ("vpcPeeringConnection", _BY_ID),
    "vpc-cidr-association": ("vpc CIDR block association", _BY_ID),
    "subnet-cidr-association": (
        "",
        (
            "The subnet CIDR block with association ID '{names}' does not exist",
            "The subnet CIDR blocks with association IDs '{names}' do not exist",
        ),
    ),
    "vpc-endpoint": (
        "",
        ("The Vpc Endpoint Id '{names}' does not exist", "The Vpc Endpoint Ids '{names}' do not exist"),
    ),
    "prefix-list": ("prefix list", _BY_ID),
    "key-pair": ("key pair", _PLAIN),
    "host": ("host", _BY_ID),
    "iam-instance-profile-association": (
        "",
        ("An invalid association-id of '{names}' was given", "Invalid association-ids of '{names}' were given"),
    ),
}

# Parameters whose names in messages are neither the model's nor that with a small first letter.
_NAMES: Final = {"ResourceId": "resourceIdSet", "Tag": "tagSet", "GroupDescription": "GroupDescription"}
_CAPITAL: Final = re.compile(r"(?<![A-Za-z0-9])[A-Z](?=[a-z])")


def in_words(error: SteadError) -> str:
    """Give the message of an error as EC2 says it."""
    if isinstance(error, NotFound) and not error.is_worded and error.resource_type in WORDS:
        kind, (one, several) = WORDS[error.resource_type]
        text = one if len(error.missing) == 1 else several
        return text.format(kind=kind, names=", ".join(error.missing))
    if isinstance(error, MissingParameter):
        return f"The request must contain the parameter {parameter_name(error.name)}"
    return error.message


def parameter_name(name: str) -> str:
    """Give a parameter's name as EC2 writes it in messages: `SubnetId` is subnetId there."""
    return _NAMES.get(name) or _CAPITAL.sub(lambda first: first[0].lower(), name)
