import pytest
from botocore.exceptions import ClientError

from tests.api.identity import EC2_ONLY, READ_ONLY, document, key_of, refused
from tests.support.waiting import wait_for


@pytest.fixture(scope="module")
def owner(cloud):
    return cloud.new_account()


@pytest.fixture(scope="module")
def iam(owner):
    return owner.client("iam")


def test_a_user_is_made_shown_renamed_and_deleted(owner, iam):
    made = iam.create_user(UserName="Ada", Path="/team/a/", Tags=[{"Key": "Role", "Value": "lead"}])["User"]
    assert made["Arn"] == f"arn:aws:iam::{owner.account_id}:user/team/a/Ada"
    assert made["UserId"].startswith("AIDA")
    assert len(made["UserId"]) == 21
    iam.get_waiter("user_exists").wait(UserName="ada")
    assert iam.get_user(UserName="ADA")["User"] == made
    assert "ada already exists" in refused("EntityAlreadyExists", iam.create_user, UserName="ada")
    iam.update_user(UserName="Ada", NewUserName="Lovelace", NewPath="/")
    assert refused("NoSuchEntity", iam.get_user, UserName="Ada") == "The user with name Ada cannot be found."
    renamed = iam.get_user(UserName="Lovelace")["User"]
    assert (renamed["UserId"], renamed["Path"], renamed["Tags"]) == (made["UserId"], "/", made["Tags"])
    iam.delete_user(UserName="Lovelace")
    refused("NoSuchEntity", iam.delete_user, UserName="Lovelace")


@pytest.mark.parametrize(
    "params",
    [
        {"UserName": "with space"},
        {"UserName": "a/b"},
        {"UserName": "x" * 65},
        {"UserName": "ok", "Path": "no-slash"},
        {"UserName": "ok", "Path": "/" + "p" * 512 + "/"},
        {"UserName": "ok", "Tags": [{"Key": f"k{n}", "Value": ""} for n in range(51)]},
        {"UserName": "ok", "Tags": [{"Key": "k!", "Value": "v"}]},
        {"UserName": "ok", "Tags": [{"Key": "k", "Value": "v"}, {"Key": "K", "Value": "v"}]},
    ],
)
def test_bad_names_paths_and_tags_are_refused(iam, params):
    with pytest.raises(ClientError) as refusal:
        iam.create_user(**params)
    assert refusal.value.response["Error"]["Code"] == "ValidationError"
    assert refusal.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    refused("NoSuchEntity", iam.get_user, UserName="ok")


def test_users_are_listed_in_pages_below_a_path(cloud):
    iam = cloud.new_account().client("iam")
    for number in range(7):
        iam.create_user(UserName=f"u{number}", Path="/even/" if number % 2 == 0 else "/odd/")
    pages = list(iam.get_paginator("list_users").paginate(PaginationConfig={"PageSize": 3}))
    assert [[user["UserName"] for user in page["Users"]] for page in pages] == [
        ["u0", "u1", "u2"],
        ["u3", "u4", "u5"],
        ["u6"],
    ]
    assert [page["IsTruncated"] for page in pages] == [True, True, False]
    even = iam.get_paginator("list_users").paginate(PathPrefix="/even/", PaginationConfig={"PageSize": 2})
    assert [user["UserName"] for page in even for user in page["Users"]] == ["u0", "u2", "u4", "u6"]
    marker = iam.list_users(MaxItems=1)["Marker"]
    refused("ValidationError", iam.list_groups, Marker=marker)


def test_a_user_in_use_is_not_deleted(iam):
    iam.create_user(UserName="busy")
    iam.create_group(GroupName="crowd")
    iam.add_user_to_group(GroupName="crowd", UserName="busy")
    assert "group" in refused("DeleteConflict", iam.delete_user, UserName="busy")
    key = iam.create_access_key(UserName="busy")["AccessKey"]
    assert "access keys" in refused("DeleteConflict", iam.delete_user, UserName="busy")
    iam.create_login_profile(UserName="busy", Password="correct horse 1 Battery!")
    assert "login profile" in refused("DeleteConflict", iam.delete_user, UserName="busy")
    iam.put_user_policy(UserName="busy", PolicyName="p", PolicyDocument=document("ec2:*"))
    assert "delete policies" in refused("DeleteConflict", iam.delete_user, UserName="busy")
    iam.attach_user_policy(UserName="busy", PolicyArn=READ_ONLY)
    assert "detach" in refused("DeleteConflict", iam.delete_user, UserName="busy")
    iam.detach_user_policy(UserName="busy", PolicyArn=READ_ONLY)
    iam.delete_user_policy(UserName="busy", PolicyName="p")
    iam.delete_login_profile(UserName="busy")
    iam.delete_access_key(UserName="busy", AccessKeyId=key["AccessKeyId"])
    iam.remove_user_from_group(GroupName="crowd", UserName="busy")
    iam.delete_user(UserName="busy")
    iam.delete_group(GroupName="crowd")


def test_groups_show_their_users_and_users_their_groups(iam):
    iam.create_group(GroupName="Admins", Path="/ops/")
    for name in ("g1", "g2", "g3"):
        iam.create_user(UserName=name)
        iam.add_user_to_group(GroupName="admins", UserName=name)
        iam.add_user_to_group(GroupName="admins", UserName=name)
    pages = iam.get_paginator("get_group").paginate(GroupName="Admins", PaginationConfig={"PageSize": 2})
    assert sorted(user["UserName"] for page in pages for user in page["Users"]) == ["g1", "g2", "g3"]
    assert [group["GroupName"] for group in iam.list_groups_for_user(UserName="g1")["Groups"]] == ["Admins"]
    assert [group["Path"] for group in iam.list_groups(PathPrefix="/ops/")["Groups"]] == ["/ops/"]
    refused("DeleteConflict", iam.delete_group, GroupName="Admins")
    refused("EntityAlreadyExists", iam.create_group, GroupName="ADMINS")
    iam.update_group(GroupName="Admins", NewGroupName="Owners")
    for name in ("g1", "g2", "g3"):
        iam.remove_user_from_group(GroupName="Owners", UserName=name)
    refused("NoSuchEntity", iam.remove_user_from_group, GroupName="Owners", UserName="g1")
    iam.delete_group(GroupName="Owners")


def test_a_user_has_two_keys_which_are_switched_off_and_deleted_at_once(owner, iam):
    iam.create_user(UserName="keys", Path="/p/")
    iam.attach_user_policy(UserName="keys", PolicyArn="arn:aws:iam::aws:policy/IAMFullAccess")
    user = key_of(owner, "keys")
    iam.create_access_key(UserName="keys")
    assert refused("LimitExceeded", iam.create_access_key, UserName="keys").endswith("AccessKeysPerUser: 2")
    who = user.client("sts").get_caller_identity()
    assert who["Arn"] == f"arn:aws:iam::{owner.account_id}:user/p/keys"
    assert who["UserId"] == iam.get_user(UserName="keys")["User"]["UserId"]
    mine = user.client("iam")
    assert mine.get_user()["User"]["UserName"] == "keys"
    assert [key["Status"] for key in mine.list_access_keys()["AccessKeyMetadata"]] == ["Active", "Active"]
    iam.update_access_key(UserName="keys", AccessKeyId=user.access_key_id, Status="Inactive")

    def is_known():
        try:
            user.client("sts").get_caller_identity()
        except ClientError:
            return False
        return True

    wait_for(lambda: not is_known(), "the switched-off key is refused", 3)
    refused("InvalidClientTokenId", user.client("sts").get_caller_identity)
    iam.update_access_key(UserName="keys", AccessKeyId=user.access_key_id, Status="Active")
    wait_for(is_known, "the key is known again", 3)
    iam.delete_access_key(UserName="keys", AccessKeyId=user.access_key_id)
    wait_for(lambda: not is_known(), "the deleted key is refused", 3)
    refused("NoSuchEntity", iam.delete_access_key, UserName="keys", AccessKeyId=user.access_key_id)
    refused("NoSuchEntity", iam.get_access_key_last_used, AccessKeyId=user.access_key_id)


def test_a_key_is_found_by_its_own_user_only(iam):
    """Whoever may manage one user's keys is not let near another's by naming the one and the other's key."""
    for name in ("keyed-1", "keyed-2"):
        iam.create_user(UserName=name)
    key_id = iam.create_access_key(UserName="keyed-2")["AccessKey"]["AccessKeyId"]
    refused("NoSuchEntity", iam.update_access_key, UserName="keyed-1", AccessKeyId=key_id, Status="Inactive")
    refused("NoSuchEntity", iam.delete_access_key, UserName="keyed-1", AccessKeyId=key_id)
    refused("NoSuchEntity", iam.delete_access_key, AccessKeyId=key_id)
    assert iam.list_access_keys(UserName="keyed-2")["AccessKeyMetadata"][0]["Status"] == "Active"


def test_deleting_a_user_that_has_something_is_refused(iam):
    iam.create_user(UserName="plain")
    assert iam.list_mfa_devices(UserName="plain")["MFADevices"] == []
    assert iam.list_ssh_public_keys(UserName="plain")["SSHPublicKeys"] == []
    assert iam.list_signing_certificates(UserName="plain")["Certificates"] == []
    assert iam.list_service_specific_credentials(UserName="plain")["ServiceSpecificCredentials"] == []
    refused("NoSuchEntity", iam.list_mfa_devices, UserName="nobody")


def test_a_user_may_do_what_policies_allow_as_soon_as_they_do(owner, iam):
    iam.create_user(UserName="limited")
    user = key_of(owner, "limited")
    message = refused("AccessDenied", user.client("iam").list_users)
    assert message.startswith(f"User: arn:aws:iam::{owner.account_id}:user/limited is not authorized to perform: iam:")

    def may_list():
        try:
            user.client("iam").list_users()
        except ClientError:
            return False
        return True

    iam.create_group(GroupName="lookers")
    iam.put_group_policy(GroupName="lookers", PolicyName="look", PolicyDocument=document("iam:ListUsers"))
    iam.add_user_to_group(GroupName="lookers", UserName="limited")
    wait_for(may_list, "what the group may", 3)
    iam.put_user_permissions_boundary(UserName="limited", PermissionsBoundary=EC2_ONLY)
    wait_for(lambda: not may_list(), "the boundary keeps it out", 3)


def test_root_has_keys_too(owner, iam):
    made = iam.create_access_key()["AccessKey"]
    listed = {key["AccessKeyId"] for key in iam.list_access_keys()["AccessKeyMetadata"]}
    assert listed == {owner.access_key_id, made["AccessKeyId"]}
    refused("LimitExceeded", iam.create_access_key)
    iam.delete_access_key(AccessKeyId=made["AccessKeyId"])
    assert iam.get_user()["User"]["Arn"] == f"arn:aws:iam::{owner.account_id}:root"


def test_another_account_has_its_own_names(cloud, iam):
    iam.create_user(UserName="shared-name")
    other = cloud.new_account().client("iam")
    absent = refused("NoSuchEntity", other.get_user, UserName="shared-name")
    assert absent == "The user with name shared-name cannot be found."
    key = iam.create_access_key(UserName="shared-name")["AccessKey"]["AccessKeyId"]
    texts = {
        refused("NoSuchEntity", other.get_access_key_last_used, AccessKeyId=one).replace(one, "KEY")
        for one in (key, "AKIAABSENTABSENTABSE")
    }
    assert texts == {"The Access Key with id KEY cannot be found."}
    refused("ValidationError", other.create_login_profile, UserName="shared-name")
    other.create_user(UserName="shared-name")
    assert other.list_users()["Users"][0]["UserName"] == "shared-name"


def test_an_access_key_is_active_or_inactive(cloud):
    iam = cloud.new_account().client("iam")
    iam.create_user(UserName="ada")
    key_id = iam.create_access_key(UserName="ada")["AccessKey"]["AccessKeyId"]
    message = refused("ValidationError", iam.update_access_key, UserName="ada", AccessKeyId=key_id, Status="Paused")
    assert message.endswith("Member must satisfy enum value set: [Active, Inactive]")
    assert iam.list_access_keys(UserName="ada")["AccessKeyMetadata"][0]["Status"] == "Active"
