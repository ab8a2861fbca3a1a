"""Authorize, Revoke and Modify rules and their descriptions: IpPermissions or EC2's older flat parameters."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.aws.describe import tags_on_create
from stead_controller.aws.ec2.network.security_group_rule_view import permissions_view, revoked_rule_view, rule_view
from stead_controller.errors import InvalidCombination, InvalidParameter, MissingParameter, Unsupported
from stead_controller.resources.network import security_group_rules
from stead_controller.resources.network.permissions import Block, GroupReference, Permission, PrefixListReference
from stead_controller.resources.network.security_group_rules import GroupName

_FLAT: Final = ("CidrIp", "FromPort", "IpProtocol", "SourceSecurityGroupName", "SourceSecurityGroupOwnerId", "ToPort")
# The permissions of a request that names only another group: EC2 creates one rule for each
_EVERYTHING: Final = (("tcp", 0, 65535), ("udp", 0, 65535), ("icmp", -1, -1))


@operation("AuthorizeSecurityGroupIngress")
def authorize_ingress(call: Call, params: Params) -> Result:
    """Allow traffic into a group's members."""
    return _authorize(call, params, _ingress_permissions(params), egress=False)


@operation("AuthorizeSecurityGroupEgress")
def authorize_egress(call: Call, params: Params) -> Result:
    """Allow traffic out of a group's members."""
    return _authorize(call, params, _egress_permissions(params), egress=True)


@operation("RevokeSecurityGroupIngress")
def revoke_ingress(call: Call, params: Params) -> Result:
    """Revoke inbound permissions of a group."""
    return _revoke(call, params, _ingress_permissions(params), egress=False)


@operation("RevokeSecurityGroupEgress")
def revoke_egress(call: Call, params: Params) -> Result:
    """Revoke outbound permissions of a group."""
    return _revoke(call, params, _egress_permissions(params), egress=True)


@operation("UpdateSecurityGroupRuleDescriptionsIngress")
def update_ingress_descriptions(call: Call, params: Params) -> Result:
    """Replace descriptions of inbound rules."""
    return _update_descriptions(call, params, egress=False)


@operation("UpdateSecurityGroupRuleDescriptionsEgress")
def update_egress_descriptions(call: Call, params: Params) -> Result:
    """Replace descriptions of outbound rules."""
    return _update_descriptions(call, params, egress=True)


@operation("ModifySecurityGroupRules")
def modify_security_group_rules(call: Call, params: Params) -> Result:
    """Replace the content of rules, all of them or none."""
    asked = _by_rule_id(params["SecurityGroupRules"])
    changes = {rule_id: _changed_rule(one.get("SecurityGroupRule", {})) for rule_id, one in asked.items()}
    security_group_rules.modify(call.tx, call.caller, params["GroupId"], changes)
    return {"Return": True}


def _changed_rule(given: Mapping[str, Any]) -> Permission:
    """Read a SecurityGroupRuleRequest: one protocol with its ports and exactly one peer."""
    description = given.get("Description")
    named = [one for one in ("CidrIpv4", "CidrIpv6", "PrefixListId", "ReferencedGroupId") if given.get(one)]
    if len(named) != 1:
        raise InvalidCombination("Give exactly one of cidrIpv4, cidrIpv6, prefixListId and referencedGroupId")
    group, listed = given.get("ReferencedGroupId"), given.get("PrefixListId")
    peers: dict[str, Any] = {
        "ipv4": (Block(given["CidrIpv4"], description),) if given.get("CidrIpv4") else (),
        "ipv6": (Block(given["CidrIpv6"], description),) if given.get("CidrIpv6") else (),
        "groups": (GroupReference(group_id=group, description=description),) if group else (),
        "prefix_lists": (PrefixListReference(listed, description),) if listed else (),
    }
    return Permission(given.get("IpProtocol"), given.get("FromPort"), given.get("ToPort"), **peers)


def _authorize(call: Call, params: Params, permissions: list[Permission], *, egress: bool) -> Result:
    tags = tags_on_create(params, "security-group-rule")["security-group-rule"]
    made = security_group_rules.authorize(
        call.tx, call.caller, _group(params), permissions, egress=egress, rule_tags=tags
    )
    found = security_group_rules.described(call.tx, call.caller, call.cloud, made)
    return {"Return": True, "SecurityGroupRules": [rule_view(one) for one in found]}


def _revoke(call: Call, params: Params, permissions: list[Permission], *, egress: bool) -> Result:
    rule_ids = params.get("SecurityGroupRuleIds", ())
    if rule_ids and permissions:
        raise InvalidCombination("The parameters securityGroupRuleIds and ipPermissions cannot be used together")
    if rule_ids:
        gone = security_group_rules.revoke_by_id(call.tx, call.caller, _group(params), rule_ids, egress=egress)
        return {"Return": True, "RevokedSecurityGroupRules": [revoked_rule_view(rule) for rule in gone]}
    revoked = security_group_rules.revoke(call.tx, call.caller, _group(params), permissions, egress=egress)
    return {
        "Return": True,
        "UnknownIpPermissions": permissions_view(revoked.unknown, {}) or None,
        "RevokedSecurityGroupRules": [revoked_rule_view(rule) for rule in revoked.rules],
    }


def _update_descriptions(call: Call, params: Params, *, egress: bool) -> Result:
    asked = _by_rule_id(params.get("SecurityGroupRuleDescriptions", ()))
    descriptions = {rule_id: one.get("Description") for rule_id, one in asked.items()}
    permissions = _permissions(params.get("IpPermissions", ()))
    if bool(descriptions) == bool(permissions):
        raise InvalidCombination("Give either ipPermissions or securityGroupRuleDescriptions")
    if descriptions:
        security_group_rules.describe_again_by_id(call.tx, call.caller, _group(params), descriptions, egress=egress)
    else:
        security_group_rules.describe_again(call.tx, call.caller, _group(params), permissions, egress=egress)
    return {"Return": True}


def _by_rule_id(asked: Iterable[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """Return the changes by rule id; raises InvalidParameter if two are about one rule."""
    found: dict[str, Mapping[str, Any]] = {}
    for one in asked:
        rule_id = one.get("SecurityGroupRuleId", "")
        if rule_id in found:
            raise InvalidParameter(f"The same security group rule must not appear multiple times ({rule_id[:80]})")
        found[rule_id] = one
    return found


def _group(params: Params) -> GroupName:
    return GroupName(params.get("GroupId"), params.get("GroupName"))


def _ingress_permissions(params: Params) -> list[Permission]:
    flat = [name for name in _FLAT if name in params]
    structured = params.get("IpPermissions", ())
    if flat and structured:
        raise InvalidCombination(f"The parameter {flat[0]} cannot be used with the parameter ipPermissions")
    if not flat:
        return _permissions(structured)
    source = params.get("SourceSecurityGroupName")
    if source is None:
        blocks = (Block(params["CidrIp"]),) if "CidrIp" in params else ()
        return [Permission(params.get("IpProtocol"), params.get("FromPort"), params.get("ToPort"), ipv4=blocks)]
    if "CidrIp" in params:
        raise InvalidCombination("The parameter sourceSecurityGroupName cannot be used with the parameter cidrIp")
    groups = (GroupReference(group_name=source, user_id=params.get("SourceSecurityGroupOwnerId")),)
    if "IpProtocol" in params:
        return [Permission(params["IpProtocol"], params.get("FromPort"), params.get("ToPort"), groups=groups)]
    return [Permission(*allowed, groups=groups) for allowed in _EVERYTHING]


def _egress_permissions(params: Params) -> list[Permission]:
    for name in _FLAT:
        if name in params:
            raise Unsupported(f"The parameter {name} is not supported for outbound rules; use ipPermissions.")
    return _permissions(params.get("IpPermissions", ()))


def _permissions(structured: Iterable[Mapping[str, Any]]) -> list[Permission]:
    return [
        Permission(
            one.get("IpProtocol"),
            one.get("FromPort"),
            one.get("ToPort"),
            ipv4=tuple(_block(peer, "CidrIp") for peer in one.get("IpRanges", ())),
            ipv6=tuple(_block(peer, "CidrIpv6") for peer in one.get("Ipv6Ranges", ())),
            groups=tuple(_reference(peer) for peer in one.get("UserIdGroupPairs", ())),
            prefix_lists=tuple(
                PrefixListReference(peer.get("PrefixListId", ""), peer.get("Description"))
                for peer in one.get("PrefixListIds", ())
            ),
        )
        for one in structured
    ]


def _block(peer: Mapping[str, Any], member: str) -> Block:
    if member not in peer:
        raise MissingParameter(member)
    return Block(peer[member], peer.get("Description"))


def _reference(peer: Mapping[str, Any]) -> GroupReference:
    peer.get("PeeringStatus")  # accepted unused: clients send back what a Describe has shown
    return GroupReference(
        peer.get("GroupId"),
        peer.get("GroupName"),
        peer.get("UserId"),
        peer.get("Description"),
        vpc_id=peer.get("VpcId"),
        peering_id=peer.get("VpcPeeringConnectionId"),
    )
