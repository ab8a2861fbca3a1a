"""Identity and Access Management: each operation is on one user, group, role, profile, policy or provider."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from stead_controller.aws.authorization.rule import Asked, Check, Part, Rule, Target, rule
from stead_controller.resources.iam import call_targets

_OF_USERS: Final = (
    "AttachUserPolicy",
    "CreateAccessKey",
    "CreateLoginProfile",
    "DeactivateMFADevice",
    "DeleteAccessKey",
    "DeleteLoginProfile",
    "DeleteUser",
    "DeleteUserPermissionsBoundary",
    "DeleteUserPolicy",
    "DetachUserPolicy",
    "EnableMFADevice",
    "GetLoginProfile",
    "GetMFADevice",
    "GetUser",
    "GetUserPolicy",
    "ListAccessKeys",
    "ListAttachedUserPolicies",
    "ListGroupsForUser",
    "ListMFADevices",
    "ListServiceSpecificCredentials",
    "ListSigningCertificates",
    "ListSSHPublicKeys",
    "ListUserPolicies",
    "ListUserTags",
    "PutUserPermissionsBoundary",
    "PutUserPolicy",
    "ResyncMFADevice",
    "TagUser",
    "UntagUser",
    "UpdateAccessKey",
    "UpdateLoginProfile",
)
_OF_GROUPS: Final = (
    "AddUserToGroup",
    "AttachGroupPolicy",
    "DeleteGroup",
    "DeleteGroupPolicy",
    "DetachGroupPolicy",
    "GetGroup",
    "GetGroupPolicy",
    "ListAttachedGroupPolicies",
    "ListGroupPolicies",
    "PutGroupPolicy",
    "RemoveUserFromGroup",
)
_OF_ROLES: Final = (
    "AttachRolePolicy",
    "DeleteRole",
    "DeleteRolePermissionsBoundary",
    "DeleteRolePolicy",
    "DetachRolePolicy",
    "GetRole",
    "GetRolePolicy",
    "ListAttachedRolePolicies",
    "ListInstanceProfilesForRole",
    "ListRolePolicies",
    "ListRoleTags",
    "PutRolePermissionsBoundary",
    "PutRolePolicy",
    "TagRole",
    "UntagRole",
    "UpdateAssumeRolePolicy",
    "UpdateRole",
    "UpdateRoleDescription",
)
_OF_PROFILES: Final = (
    "DeleteInstanceProfile",
    "GetInstanceProfile",
    "ListInstanceProfileTags",
    "RemoveRoleFromInstanceProfile",
    "TagInstanceProfile",
    "UntagInstanceProfile",
)
_OF_POLICIES: Final = (
    "CreatePolicyVersion",
    "DeletePolicy",
    "DeletePolicyVersion",
    "GetPolicy",
    "GetPolicyVersion",
    "ListEntitiesForPolicy",
    "ListPolicyTags",
    "ListPolicyVersions",
    "SetDefaultPolicyVersion",
    "TagPolicy",
    "UntagPolicy",
)
_OF_ISSUERS: Final = (
    "AddClientIDToOpenIDConnectProvider",
    "DeleteOpenIDConnectProvider",
    "GetOpenIDConnectProvider",
    "ListOpenIDConnectProviderTags",
    "RemoveClientIDFromOpenIDConnectProvider",
    "TagOpenIDConnectProvider",
    "UntagOpenIDConnectProvider",
    "UpdateOpenIDConnectProviderThumbprint",
)
_OF_DEVICES: Final = ("DeleteVirtualMFADevice", "ListMFADeviceTags", "TagMFADevice", "UntagMFADevice")
_TAGGING: Final = {
    "instance-profile": "TagInstanceProfile",
    "mfa": "TagMFADevice",
    "oidc-provider": "TagOpenIDConnectProvider",
    "policy": "TagPolicy",
    "role": "TagRole",
    "user": "TagUser",
}
_OF_THE_ACCOUNT: Final = (
    "CreateAccountAlias",
    "DeleteAccountAlias",
    "DeleteAccountPasswordPolicy",
    "GenerateCredentialReport",
    "GetAccountAuthorizationDetails",
    "GetAccountPasswordPolicy",
    "GetAccountSummary",
    "GetContextKeysForCustomPolicy",
    "GetCredentialReport",
    "ListAccountAliases",
    "ListOpenIDConnectProviders",
    "ListPolicies",
    "ListSAMLProviders",
    "ListServerCertificates",
    "ListVirtualMFADevices",
    "SimulateCustomPolicy",
    "UpdateAccountPasswordPolicy",
)


def _entity(kind: str, member: str) -> Part:
    """Check the entity that a member names; if the call names no user, the caller itself."""

    def part(asked: Asked) -> Iterator[Check]:
        names = asked.values(member)
        if not names and kind == "user" and asked.call.caller.kind == "user":
            names = [asked.call.caller.user_name]
        for name in names:
            yield Check(_target(asked, kind, name))

    return part


def _target(asked: Asked, kind: str, name: str) -> Target:
    call = asked.call
    entity = call_targets.find(call.tx, call.caller, call.cloud, kind, name)
    context = {
        "iam:PolicyARN": asked.params.get("PolicyArn"),
        "iam:PermissionsBoundary": asked.params.get("PermissionsBoundary") or entity.boundary_arn,
    }
    return Target(entity.arn, "iam", entity.id, context, _tags(asked.params))


def _renamed(kind: str, member: str, new_member: str) -> Part:
    """Check the entity under its new name and path, for which the caller needs the same permission."""

    def part(asked: Asked) -> Iterator[Check]:
        name, path = asked.params.get(new_member), asked.params.get("NewPath")
        if name is None and path is None:
            return
        target = _target(asked, kind, asked.params[member])
        old_path, _, old_name = target.arn.partition(f":{kind}/")[2].rpartition("/")
        path = old_path if path is None else path.strip("/")
        name = name or old_name
        yield Check(replace(target, arn=_arn(asked, kind, f"{path}/{name}" if path else name)))

    return part


def _new(kind: str, member: str) -> Part:
    """Check an entity to be created."""

    def part(asked: Asked) -> Iterator[Check]:
        for name in asked.values(member):
            path = asked.params.get("Path", "/").strip("/")
            boundary = {"iam:PermissionsBoundary": asked.params.get("PermissionsBoundary")}
            arn = _arn(asked, kind, f"{path}/{name}" if path else name)
            yield from _tagged(kind, Target(arn, context=boundary, tags=_tags(asked.params)))

    return part


def _tagged(kind: str, target: Target) -> Iterator[Check]:
    """Check an entity to be created, and the permission to tag it if it is created with tags."""
    yield Check(target)
    if target.tags:
        yield Check(target, f"iam:{_TAGGING[kind]}")


def _list(kind: str) -> Part:
    """Check all of a kind, below a path."""

    def part(asked: Asked) -> Iterator[Check]:
        yield Check(Target(_arn(asked, kind, asked.params.get("PathPrefix", "/").lstrip("/"))))

    return part


def _by_arn(member: str) -> Part:
    """Check a managed policy, OIDC provider or MFA device by its ARN."""

    def part(asked: Asked) -> Iterator[Check]:
        for arn in asked.values(member):
            entity_id = call_targets.id_of_arn(asked.call.tx, asked.call.caller, arn)
            yield Check(Target(arn, "iam", entity_id, tags=_tags(asked.params)))

    return part


def _new_issuer(asked: Asked) -> Iterator[Check]:
    url = str(asked.params.get("Url", "")).removeprefix("https://")
    arn = _arn(asked, "oidc-provider", url)
    yield from _tagged("oidc-provider", Target(arn, tags=_tags(asked.params)))


def _owner_of_key(asked: Asked) -> Iterator[Check]:
    for key_id in asked.values("AccessKeyId"):
        name = call_targets.user_of_key(asked.call.tx, asked.call.caller, key_id)
        if name is not None:
            yield Check(_target(asked, "user", name))


def _source(asked: Asked) -> Iterator[Check]:
    """Check the user, group or role whose policies are queried."""
    for arn in asked.values("PolicySourceArn"):
        yield Check(Target(arn))


def _passed_role(asked: Asked) -> Iterator[Check]:
    """Check that the role may be passed, since adding it to a profile gives it to instances."""
    for name in asked.values("RoleName"):
        role = _target(asked, "role", name)
        instances = asked.arn("instance", "*", region="*")
        context = {"iam:AssociatedResourceArn": instances, "iam:PassedToService": "ec2.amazonaws.com"}
        yield Check(Target(role.arn, "iam", role.resource_id, context), "iam:PassRole")


def _arn(asked: Asked, kind: str, name: str) -> str:
    return asked.arn(kind, name, service="iam", region="")


def _tags(params: Mapping[str, Any]) -> dict[str, str]:
    given = {tag["Key"]: tag.get("Value", "") for tag in params.get("Tags") or () if "Key" in tag}
    return given | dict.fromkeys(params.get("TagKeys") or (), "")


RULES: Final[dict[str, Rule]] = {
    **{name: rule(_entity("user", "UserName")) for name in _OF_USERS},
    **{name: rule(_entity("group", "GroupName")) for name in _OF_GROUPS},
    **{name: rule(_entity("role", "RoleName")) for name in _OF_ROLES},
    **{name: rule(_entity("instance-profile", "InstanceProfileName")) for name in _OF_PROFILES},
    **{name: rule(_by_arn("PolicyArn")) for name in _OF_POLICIES},
    **{name: rule(_by_arn("OpenIDConnectProviderArn")) for name in _OF_ISSUERS},
    **{name: rule(_by_arn("SerialNumber")) for name in _OF_DEVICES},
    **{name: rule() for name in _OF_THE_ACCOUNT},
    "AddRoleToInstanceProfile": rule(_entity("instance-profile", "InstanceProfileName"), _passed_role),
    "ChangePassword": rule(_entity("user", "UserName")),
    "CreateGroup": rule(_new("group", "GroupName")),
    "CreateInstanceProfile": rule(_new("instance-profile", "InstanceProfileName")),
    "CreateOpenIDConnectProvider": rule(_new_issuer),
    "CreatePolicy": rule(_new("policy", "PolicyName")),
    "CreateRole": rule(_new("role", "RoleName")),
    "CreateUser": rule(_new("user", "UserName")),
    "CreateVirtualMFADevice": rule(_new("mfa", "VirtualMFADeviceName")),
    "GetAccessKeyLastUsed": rule(_owner_of_key),
    "GetContextKeysForPrincipalPolicy": rule(_source),
    "ListGroups": rule(_list("group")),
    "ListInstanceProfiles": rule(_list("instance-profile")),
    "ListRoles": rule(_list("role")),
    "ListUsers": rule(_list("user")),
    "SimulatePrincipalPolicy": rule(_source),
    "UpdateGroup": rule(_entity("group", "GroupName"), _renamed("group", "GroupName", "NewGroupName")),
    "UpdateUser": rule(_entity("user", "UserName"), _renamed("user", "UserName", "NewUserName")),
}
