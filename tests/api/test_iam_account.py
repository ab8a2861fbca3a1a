import json
from dataclasses import replace

import boto3
import pytest
from botocore.exceptions import ClientError
from click.testing import CliRunner

from stead_cli.account import account as commands
from stead_controller.aws.protocol.models import load_service
from tests.api.identity import READ_ONLY, document, key_of, refused, trust
from tests.support.waiting import wait_for

STRONG = "Tr0ub4dor&3 and more"


@pytest.fixture(scope="module")
def owner(cloud):
    return cloud.new_account()


@pytest.fixture(scope="module")
def iam(owner):
    return owner.client("iam")


def test_an_alias_is_unique_in_the_cloud(cloud, owner, iam):
    alias = f"team-{owner.account_id}"
    iam.create_account_alias(AccountAlias="first-one")
    iam.create_account_alias(AccountAlias=alias)
    assert iam.list_account_aliases()["AccountAliases"] == [alias]
    other = cloud.new_account().client("iam")
    refused("EntityAlreadyExists", other.create_account_alias, AccountAlias=alias)
    other.create_account_alias(AccountAlias="first-one")
    for bad in ("Upper", "-begin", "end-", "two--dashes", "x" * 64):
        refused("ValidationError", iam.create_account_alias, AccountAlias=bad)
    refused("NoSuchEntity", iam.delete_account_alias, AccountAlias="first-one")
    iam.delete_account_alias(AccountAlias=alias)
    assert iam.list_account_aliases()["AccountAliases"] == []


def test_the_summary_counts(cloud):
    iam = cloud.new_account().client("iam")
    iam.create_user(UserName="u")
    iam.create_group(GroupName="g")
    iam.create_role(RoleName="r", AssumeRolePolicyDocument=trust())
    iam.create_instance_profile(InstanceProfileName="p")
    iam.create_policy(PolicyName="m", PolicyDocument=document("ec2:*"))
    iam.attach_user_policy(UserName="u", PolicyArn=READ_ONLY)
    found = iam.get_account_summary()["SummaryMap"]
    assert {name: found[name] for name in ("Users", "Groups", "Roles", "InstanceProfiles", "Policies")} == {
        "Users": 1,
        "Groups": 1,
        "Roles": 1,
        "InstanceProfiles": 1,
        "Policies": 1,
    }
    assert (found["UsersQuota"], found["AccessKeysPerUserQuota"], found["AccountAccessKeysPresent"]) == (5000, 2, 1)
    assert (found["PolicyVersionsInUse"], found["Providers"]) == (1, 0)
    assert set(load_service("iam").model.shape_for("summaryKeyType").enum) <= found.keys()


def test_account_details_come_in_pages(cloud):
    iam = cloud.new_account().client("iam")
    user = iam.create_user(UserName="u", Tags=[{"Key": "k", "Value": "v"}])["User"]
    iam.create_user(UserName="u2")
    iam.create_group(GroupName="g")
    iam.add_user_to_group(GroupName="g", UserName="u")
    iam.put_group_policy(GroupName="g", PolicyName="inline", PolicyDocument=document("ec2:*"))
    iam.create_role(RoleName="r", AssumeRolePolicyDocument=trust({"AWS": user["Arn"]}))
    iam.create_instance_profile(InstanceProfileName="p")
    iam.add_role_to_instance_profile(InstanceProfileName="p", RoleName="r")
    own = iam.create_policy(PolicyName="own", PolicyDocument=document("ec2:*"))["Policy"]["Arn"]
    iam.create_policy_version(PolicyArn=own, PolicyDocument=document("s3:*"), SetAsDefault=True)
    for arn in (own, READ_ONLY):
        iam.attach_user_policy(UserName="u", PolicyArn=arn)
    whole = iam.get_account_authorization_details()
    [first, second] = whole["UserDetailList"]
    assert (first["UserName"], first["GroupList"], first["Tags"]) == ("u", ["g"], [{"Key": "k", "Value": "v"}])
    assert {policy["PolicyName"] for policy in first["AttachedManagedPolicies"]} == {"own", "ReadOnlyAccess"}
    assert (second["UserName"], second["AttachedManagedPolicies"]) == ("u2", [])
    [group] = whole["GroupDetailList"]
    assert group["GroupPolicyList"] == [{"PolicyName": "inline", "PolicyDocument": json.loads(document("ec2:*"))}]
    [role] = whole["RoleDetailList"]
    assert role["AssumeRolePolicyDocument"] == json.loads(trust({"AWS": user["Arn"]}))
    assert [profile["InstanceProfileName"] for profile in role["InstanceProfileList"]] == ["p"]
    policies = {policy["PolicyName"]: policy["PolicyVersionList"] for policy in whole["Policies"]}
    assert set(policies) == {"own", "ReadOnlyAccess"}
    assert [(one["VersionId"], one["IsDefaultVersion"]) for one in policies["own"]] == [("v2", True), ("v1", False)]

    members = ("UserDetailList", "GroupDetailList", "RoleDetailList", "Policies")
    pages = list(iam.get_paginator("get_account_authorization_details").paginate(PaginationConfig={"PageSize": 1}))
    assert len(pages) == 6
    assert {name: [row for page in pages for row in page[name]] for name in members} == {
        name: whole[name] for name in members
    }
    only = iam.get_account_authorization_details(Filter=["Role", "LocalManagedPolicy"])
    assert [len(only[name]) for name in members] == [0, 0, 1, 1]


def test_passwords_follow_the_accounts_rules(owner, iam):
    refused("NoSuchEntity", iam.get_account_password_policy)
    iam.create_user(UserName="login")
    refused("NoSuchEntity", iam.get_login_profile, UserName="login")
    refused("PasswordPolicyViolation", iam.create_login_profile, UserName="login", Password="short1!")
    refused("PasswordPolicyViolation", iam.create_login_profile, UserName="login", Password="onlylowercase")
    made = iam.create_login_profile(UserName="login", Password=STRONG, PasswordResetRequired=True)["LoginProfile"]
    assert made["PasswordResetRequired"] is True
    refused("EntityAlreadyExists", iam.create_login_profile, UserName="login", Password=STRONG)
    iam.update_account_password_policy(MinimumPasswordLength=20, RequireSymbols=True, MaxPasswordAge=90)
    shown = iam.get_account_password_policy()["PasswordPolicy"]
    assert (shown["MinimumPasswordLength"], shown["RequireNumbers"], shown["ExpirePasswords"]) == (20, False, True)
    message = refused("PasswordPolicyViolation", iam.update_login_profile, UserName="login", Password="Tr0ub4dor&3")
    assert message == "Password should have a minimum length of 20"

    user = key_of(owner, "login").client("iam")
    new = {"OldPassword": STRONG, "NewPassword": "a new one with a symbol!"}
    assert "iam:ChangePassword" in refused("AccessDenied", user.change_password, **new)
    iam.update_account_password_policy(AllowUsersToChangePassword=True)

    def may_change():
        wrong = refused("AccessDenied", user.change_password, **{**new, "OldPassword": "guessed"})
        return wrong == "The old password was incorrect."

    wait_for(may_change, "the account's rules let users change their passwords", 3)
    user.change_password(**new)
    refused("AccessDenied", user.change_password, **new)
    assert iam.get_login_profile(UserName="login")["LoginProfile"]["PasswordResetRequired"] is False
    refused("InvalidUserType", iam.change_password, **new)
    iam.delete_account_password_policy()
    iam.delete_login_profile(UserName="login")
    refused("NoSuchEntity", iam.delete_login_profile, UserName="login")


def test_passwords_are_not_had_again(owner, iam):
    names = ["one", "two", "three", "four"]
    passwords = [f"Passw0rd-{name}" for name in names]
    iam.create_user(UserName="again")
    iam.create_login_profile(UserName="again", Password=passwords[0])
    iam.update_login_profile(UserName="again", Password=passwords[0])  # nothing forbids it
    rules = {"RequireUppercaseCharacters": True, "AllowUsersToChangePassword": True}
    iam.update_account_password_policy(**rules, PasswordReusePrevention=3)
    assert iam.get_account_password_policy()["PasswordPolicy"]["PasswordReusePrevention"] == 3
    refused("ValidationError", iam.update_account_password_policy, PasswordReusePrevention=25)

    def is_used(password):
        said = refused("PasswordPolicyViolation", iam.update_login_profile, UserName="again", Password=password)
        return said == "Policy constraint violation with password reuse prevention during password change."

    assert is_used(passwords[0])
    iam.update_login_profile(UserName="again", Password=passwords[1])
    iam.update_login_profile(UserName="again", PasswordResetRequired=True)
    iam.update_login_profile(UserName="again", Password=passwords[2])
    assert all(is_used(password) for password in passwords[:3])
    user = key_of(owner, "again").client("iam")

    def change(old, new):
        return {"OldPassword": passwords[old], "NewPassword": passwords[new]}

    def may_change():
        return "incorrect" in refused("AccessDenied", user.change_password, **change(3, 3))

    wait_for(may_change, "the account's rules let users change their passwords", 3)
    refused("PasswordPolicyViolation", user.change_password, **change(2, 1))
    user.change_password(**change(2, 3))
    user.change_password(**change(3, 0))  # the one before the last three
    iam.update_account_password_policy(**rules, PasswordReusePrevention=1)
    refused("PasswordPolicyViolation", user.change_password, **change(0, 0))
    user.change_password(**change(0, 3))
    iam.update_account_password_policy(**rules, PasswordReusePrevention=24)
    user.change_password(**change(3, 0))  # of those before, none was remembered when only one was to be
    iam.delete_login_profile(UserName="again")
    iam.create_login_profile(UserName="again", Password=passwords[0])
    iam.delete_account_password_policy()
    iam.delete_login_profile(UserName="again")
    for key in iam.list_access_keys(UserName="again")["AccessKeyMetadata"]:
        iam.delete_access_key(UserName="again", AccessKeyId=key["AccessKeyId"])
    iam.delete_user(UserName="again")


def test_an_issuer_is_trusted_changed_and_forgotten(owner, iam):
    url = "https://token.example.com/tenant"
    made = iam.create_open_id_connect_provider(
        Url=url, ClientIDList=["sts.amazonaws.com"], ThumbprintList=["a" * 40], Tags=[{"Key": "k", "Value": "v"}]
    )
    arn = made["OpenIDConnectProviderArn"]
    assert arn == f"arn:aws:iam::{owner.account_id}:oidc-provider/token.example.com/tenant"
    refused("EntityAlreadyExists", iam.create_open_id_connect_provider, Url=url + "/")
    refused("InvalidInput", iam.create_open_id_connect_provider, Url="http://token.example.com")
    refused("InvalidInput", iam.create_open_id_connect_provider, Url="https://b.example.com", ThumbprintList=["z" * 40])
    iam.add_client_id_to_open_id_connect_provider(OpenIDConnectProviderArn=arn, ClientID="second")
    iam.update_open_id_connect_provider_thumbprint(OpenIDConnectProviderArn=arn, ThumbprintList=["b" * 40])
    shown = iam.get_open_id_connect_provider(OpenIDConnectProviderArn=arn)
    assert shown["Url"] == "token.example.com/tenant"
    assert shown["ClientIDList"] == ["sts.amazonaws.com", "second"]
    assert shown["ThumbprintList"] == ["b" * 40]
    assert shown["Tags"] == [{"Key": "k", "Value": "v"}]
    iam.remove_client_id_from_open_id_connect_provider(OpenIDConnectProviderArn=arn, ClientID="second")
    iam.untag_open_id_connect_provider(OpenIDConnectProviderArn=arn, TagKeys=["k"])
    assert iam.list_open_id_connect_provider_tags(OpenIDConnectProviderArn=arn)["Tags"] == []
    assert iam.list_open_id_connect_providers()["OpenIDConnectProviderList"] == [{"Arn": arn}]
    iam.delete_open_id_connect_provider(OpenIDConnectProviderArn=arn)
    refused("NoSuchEntity", iam.get_open_id_connect_provider, OpenIDConnectProviderArn=arn)


@pytest.fixture
def stead(cloud, monkeypatch):
    """The account commands of an operator of the shared cloud; each gives what it printed."""
    monkeypatch.setattr("stead_cli.account.settings.load", lambda: cloud.settings)

    def run(*arguments):
        done = CliRunner().invoke(commands, arguments)
        assert done.exit_code == 0, done.output
        return done.stdout

    return run


def test_an_operator_disables_an_account_and_changes_its_root_keys(cloud, stead):
    account = cloud.new_account()
    made = json.loads(stead("create-key", account.account_id, "--output", "json"))
    assert made["account_id"] == account.account_id
    second = replace(account, access_key_id=made["access_key_id"], secret_access_key=made["secret_access_key"])
    assert second.client("sts").get_caller_identity()["Arn"].endswith(":root")
    listed = [key["access_key_id"] for key in json.loads(stead("keys", account.account_id, "--output", "json"))]
    assert listed == [account.access_key_id, second.access_key_id]
    stead("delete-key", account.account_id, second.access_key_id)
    sts = account.client("sts")
    assert sts.get_caller_identity()["Account"] == account.account_id

    def refuses():
        try:
            sts.get_caller_identity()
        except ClientError as error:
            return error.response["Error"]["Code"] == "InvalidClientTokenId"
        return False

    stead("disable", account.account_id)
    wait_for(refuses, "a disabled account is refused", 3)
    [shown] = [one for one in json.loads(stead("list", "--output", "json")) if one["account_id"] == account.account_id]
    assert shown["disabled"]
    stead("enable", shown["name"])
    wait_for(lambda: not refuses(), "an enabled account is known", 3)


def test_an_operator_ends_the_sessions_of_a_role(cloud, stead):
    account = cloud.new_account()
    iam, sts = account.client("iam"), account.client("sts")
    iam.create_user(UserName="guest-of-role")
    iam.put_user_policy(UserName="guest-of-role", PolicyName="p", PolicyDocument=document("sts:AssumeRole"))
    role = iam.create_role(RoleName="Ended", AssumeRolePolicyDocument=trust({"AWS": account.account_id}))["Role"]
    sts = key_of(account, "guest-of-role").client("sts")

    def session():
        made = sts.assume_role(RoleArn=role["Arn"], RoleSessionName="work")["Credentials"]
        return boto3.client(
            "sts",
            endpoint_url=account.endpoint,
            region_name=account.region,
            aws_access_key_id=made["AccessKeyId"],
            aws_secret_access_key=made["SecretAccessKey"],
            aws_session_token=made["SessionToken"],
        )

    old = session()
    assert old.get_caller_identity()["Arn"].endswith(":assumed-role/Ended/work")
    stead("revoke-sessions", account.account_id, "ended")
    assert session().get_caller_identity()["Account"] == account.account_id

    def is_refused():
        try:
            old.get_caller_identity()
        except ClientError as error:
            return error.response["Error"]["Code"] == "InvalidClientTokenId"
        return False

    wait_for(is_refused, "the old session is refused", 3)


def test_the_command_line_tool_sees_the_same(owner, iam):
    text = document("ec2:DescribeInstances")
    created = owner.aws("iam", "create-policy", "--policy-name", "cli", "--policy-document", text)
    arn = created["Policy"]["Arn"]
    version = owner.aws("iam", "get-policy-version", "--policy-arn", arn, "--version-id", "v1")
    assert version["PolicyVersion"]["Document"] == json.loads(text)
    iam.create_user(UserName="cli")
    iam.attach_user_policy(UserName="cli", PolicyArn=arn)
    failed = owner.aws_result("iam", "delete-policy", "--policy-arn", arn)
    assert "(DeleteConflict) when calling the DeletePolicy operation" in failed.stderr
