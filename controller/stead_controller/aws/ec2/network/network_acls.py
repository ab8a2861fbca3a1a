"""Network ACLs: CreateNetworkAcl, DeleteNetworkAcl, DescribeNetworkAcls, their entries and associations."""

from collections.abc import Mapping
from typing import Any

from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.aws.describe import repeatable, tags_on_create
from stead_controller.aws.ec2 import selection
from stead_controller.aws.ec2.network.network_acl_view import network_acl_view
from stead_controller.request.conditions import Selection
from stead_controller.resources.network import network_acls
from stead_controller.resources.network.acl_entries import AskedEntry


@operation("CreateNetworkAcl")
def create_network_acl(call: Call, params: Params) -> Result:
    """Create an ACL that denies everything."""
    acl_id = network_acls.create(
        call.tx,
        call.caller,
        params["VpcId"],
        acl_tags=tags_on_create(params, "network-acl")["network-acl"],
        repeatable=repeatable("CreateNetworkAcl", params),
        now=call.now,
    )
    (found,) = network_acls.describe(call.tx, call.caller, Selection((acl_id,)))
    return {"NetworkAcl": network_acl_view(found), "ClientToken": params.get("ClientToken")}


@operation("DeleteNetworkAcl")
def delete_network_acl(call: Call, params: Params) -> Result:
    """Delete an ACL that no subnet is associated with."""
    network_acls.remove(call.tx, call.caller, params["NetworkAclId"])
    return {}


@operation("DescribeNetworkAcls", writes=False)
def describe_network_acls(call: Call, params: Params) -> Result:
    """List ACLs with their entries and associations."""
    asked, page = selection.paged(call, params, "DescribeNetworkAcls", network_acls.FILTERS, ids="NetworkAclIds")
    found = network_acls.describe(call.tx, call.caller, asked)
    return selection.answered("NetworkAcls", found, page, lambda one: (one.acl.id,), network_acl_view)


@operation("CreateNetworkAclEntry")
def create_network_acl_entry(call: Call, params: Params) -> Result:
    """Add a rule."""
    network_acls.create_entry(call.tx, call.caller, params["NetworkAclId"], _entry(params))
    return {}


@operation("ReplaceNetworkAclEntry")
def replace_network_acl_entry(call: Call, params: Params) -> Result:
    """Replace a rule."""
    network_acls.replace_entry(call.tx, call.caller, params["NetworkAclId"], _entry(params))
    return {}


@operation("DeleteNetworkAclEntry")
def delete_network_acl_entry(call: Call, params: Params) -> Result:
    """Delete a rule."""
    network_acls.remove_entry(
        call.tx, call.caller, params["NetworkAclId"], params["RuleNumber"], egress=params["Egress"]
    )
    return {}


@operation("ReplaceNetworkAclAssociation")
def replace_network_acl_association(call: Call, params: Params) -> Result:
    """Associate a subnet with another ACL."""
    made = network_acls.replace_association(call.tx, call.caller, params["AssociationId"], params["NetworkAclId"])
    return {"NewAssociationId": made}


def _entry(params: Params) -> AskedEntry:
    return AskedEntry(
        rule_number=params["RuleNumber"],
        egress=params["Egress"],
        protocol=params["Protocol"],
        rule_action=params["RuleAction"],
        cidr_block=params.get("CidrBlock"),
        ipv6_cidr_block=params.get("Ipv6CidrBlock"),
        ports=_pair(params.get("PortRange"), "From", "To"),
        icmp=_pair(params.get("IcmpTypeCode"), "Type", "Code"),
    )


def _pair(given: Mapping[str, Any] | None, first: str, second: str) -> tuple[int | None, int | None] | None:
    return None if given is None else (given.get(first), given.get(second))
