import json

import pytest

from tests.api.identity import READ_ONLY, document, refused, trust


@pytest.fixture(scope="module")
def iam(cloud):
    return cloud.new_account().client("iam")


def test_a_role_is_made_shown_changed_and_deleted(cloud, iam):
    made = iam.create_role(
        RoleName="Worker",
        Path="/svc/",
        AssumeRolePolicyDocument=trust(),
        Description="works",
        MaxSessionDuration=7200,
        PermissionsBoundary=READ_ONLY,
        Tags=[{"Key": "a", "Value": "b"}],
    )["Role"]
    assert made["RoleId"].startswith("AROA")
    iam.get_waiter("role_exists").wait(RoleName="Worker")
    shown = iam.get_role(RoleName="worker")["Role"]
    assert shown["AssumeRolePolicyDocument"] == json.loads(trust())
    assert shown["PermissionsBoundary"] == {
        "PermissionsBoundaryType": "Policy",
        "PermissionsBoundaryArn": READ_ONLY,
    }
    assert (shown["MaxSessionDuration"], shown["Description"], shown["RoleLastUsed"]) == (7200, "works", {})
    iam.update_role(RoleName="Worker", Description="rests", MaxSessionDuration=3600)
    other = trust({"AWS": f"arn:aws:iam::{cloud.new_account().account_id}:root"})
    iam.update_assume_role_policy(RoleName="Worker", PolicyDocument=other)
    shown = iam.get_role(RoleName="Worker")["Role"]
    assert (shown["MaxSessionDuration"], shown["Description"]) == (3600, "rests")
    assert shown["AssumeRolePolicyDocument"] == json.loads(other)
    assert iam.update_role_description(RoleName="Worker", Description="x")["Role"]["Description"] == "x"
    iam.delete_role_permissions_boundary(RoleName="Worker")
    refused("NoSuchEntity", iam.delete_role_permissions_boundary, RoleName="Worker")
    assert "PermissionsBoundary" not in iam.get_role(RoleName="Worker")["Role"]
    iam.delete_role(RoleName="Worker")
    assert refused("NoSuchEntity", iam.get_role, RoleName="Worker") == "The role with name Worker cannot be found."


@pytest.mark.parametrize(
    ("code", "params"),
    [
        ("MalformedPolicyDocument", {"AssumeRolePolicyDocument": "{}"}),
        ("MalformedPolicyDocument", {"AssumeRolePolicyDocument": document("sts:AssumeRole")}),
        ("MalformedPolicyDocument", {"AssumeRolePolicyDocument": trust().replace("sts:AssumeRole", "*")}),
        (
            "MalformedPolicyDocument",
            {"AssumeRolePolicyDocument": trust().replace("sts:AssumeRole", "ec2:RunInstances")},
        ),
        ("ValidationError", {"MaxSessionDuration": 43201}),
        ("ValidationError", {"Description": "x" * 1001}),
        ("NoSuchEntity", {"PermissionsBoundary": "arn:aws:iam::aws:policy/NoSuchPolicy"}),
        ("InvalidInput", {"PermissionsBoundary": "arn:aws:s3:::no-policy-at-all"}),
        ("LimitExceeded", {"AssumeRolePolicyDocument": trust({"AWS": ["*" for _ in range(600)]})}),
    ],
)
def test_bad_roles_are_refused(iam, code, params):
    refused(code, iam.create_role, **{"RoleName": "bad", "AssumeRolePolicyDocument": trust(), **params})
    refused("NoSuchEntity", iam.get_role, RoleName="bad")


def test_what_looks_like_markup_or_code_comes_back_as_it_was(iam):
    path, words = "/<a>&\"'%20{};--/", "<b>&amp;\"' \\ ${aws:username} \u00ff"
    document_ = json.dumps(
        {
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Sid": "x",
                    "Effect": "Allow",
                    "Principal": {"AWS": "*"},
                    "Action": "sts:AssumeRole",
                    "Condition": {"StringEquals": {"sts:ExternalId": words}},
                }
            ],
        },
        ensure_ascii=False,
    )
    iam.create_role(RoleName="odd", Path=path, Description=words, AssumeRolePolicyDocument=document_)
    shown = iam.get_role(RoleName="odd")["Role"]
    assert (shown["Path"], shown["Description"]) == (path, words)
    assert shown["Arn"].endswith(f":role{path}odd")
    assert shown["AssumeRolePolicyDocument"] == json.loads(document_)
    [listed] = iam.list_roles(PathPrefix=path)["Roles"]
    assert listed["Arn"] == shown["Arn"]
    for bad in ("' OR 1=1 --", "a%00b", "odd\n"):
        refused("ValidationError", iam.get_role, RoleName=bad)


def principals(role):
    [statement] = role["AssumeRolePolicyDocument"]["Statement"]
    return statement["Principal"]["AWS"]


def test_who_is_made_anew_under_an_old_name_is_not_trusted(cloud, iam):
    ada = iam.create_user(UserName="trusted", Path="/t/")["User"]
    other = cloud.new_account().client("iam").create_user(UserName="elsewhere")["User"]["Arn"]
    iam.create_role(RoleName="trusting", AssumeRolePolicyDocument=trust({"AWS": [ada["Arn"], other]}))
    iam.create_instance_profile(InstanceProfileName="trusting")
    iam.add_role_to_instance_profile(InstanceProfileName="trusting", RoleName="trusting")
    assert principals(iam.get_role(RoleName="trusting")["Role"]) == [ada["Arn"], other]
    iam.update_user(UserName="trusted", NewUserName="renamed")
    renamed = ada["Arn"].replace("/trusted", "/renamed")
    [listed] = [role for role in iam.list_roles()["Roles"] if role["RoleName"] == "trusting"]
    assert principals(listed) == [renamed, other]
    iam.delete_user(UserName="renamed")
    iam.create_user(UserName="trusted", Path="/t/")
    [profile] = iam.list_instance_profiles_for_role(RoleName="trusting")["InstanceProfiles"]
    assert principals(profile["Roles"][0]) == [ada["UserId"], other]
    for absent in (
        ada["Arn"].replace("/trusted", "/absent"),
        ada["Arn"].replace("/t/", "/other/"),
        other.replace("/elsewhere", "/absent"),
        "arn:aws:iam::999999999999:root",
        "999999999999",
        ada["UserId"],  # as the policy shows it
    ):
        policy = trust({"AWS": absent})
        message = refused(
            "MalformedPolicyDocument", iam.update_assume_role_policy, RoleName="trusting", PolicyDocument=policy
        )
        assert message == f'Invalid principal in policy: "AWS":"{absent}"'


def test_an_instance_profile_has_one_role(iam):
    for name in ("first", "second"):
        iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust())
    made = iam.create_instance_profile(InstanceProfileName="Web", Path="/w/")["InstanceProfile"]
    assert made["InstanceProfileId"].startswith("AIPA")
    assert made["Roles"] == []
    iam.add_role_to_instance_profile(InstanceProfileName="web", RoleName="first")
    iam.get_waiter("instance_profile_exists").wait(InstanceProfileName="Web")
    message = refused("LimitExceeded", iam.add_role_to_instance_profile, InstanceProfileName="Web", RoleName="second")
    assert message == "Cannot exceed quota for InstanceSessionsPerInstanceProfile: 1"
    [shown] = iam.list_instance_profiles_for_role(RoleName="first")["InstanceProfiles"]
    assert [role["RoleName"] for role in shown["Roles"]] == ["first"]
    assert iam.list_instance_profiles(PathPrefix="/w/")["InstanceProfiles"] == [shown]
    refused("DeleteConflict", iam.delete_role, RoleName="first")
    refused("DeleteConflict", iam.delete_instance_profile, InstanceProfileName="Web")
    refused("NoSuchEntity", iam.remove_role_from_instance_profile, InstanceProfileName="Web", RoleName="second")
    refused("EntityAlreadyExists", iam.create_instance_profile, InstanceProfileName="WEB")
    iam.remove_role_from_instance_profile(InstanceProfileName="Web", RoleName="first")
    iam.delete_instance_profile(InstanceProfileName="Web")
    message = refused("NoSuchEntity", iam.get_instance_profile, InstanceProfileName="Web")
    assert message == "Instance Profile Web cannot be found."
    iam.delete_role(RoleName="first")


def test_roles_are_listed_in_pages(iam):
    for number in range(3):
        iam.create_role(RoleName=f"listed{number}", Path="/listed/", AssumeRolePolicyDocument=trust())
    pages = iam.get_paginator("list_roles").paginate(PathPrefix="/listed/", PaginationConfig={"PageSize": 2})
    assert [[role["RoleName"] for role in page["Roles"]] for page in pages] == [["listed0", "listed1"], ["listed2"]]


@pytest.mark.parametrize("kind", ["user", "role", "instance_profile"])
def test_tags_are_set_paged_and_removed(iam, kind):
    name = kind.title().replace("_", "") + "Name"
    make, tag, untag, show = (
        getattr(iam, verb) for verb in (f"create_{kind}", f"tag_{kind}", f"untag_{kind}", f"list_{kind}_tags")
    )
    whose = {name: "tagged"}
    extra = {"AssumeRolePolicyDocument": trust()} if kind == "role" else {}
    make(**whose, **extra)
    tag(**whose, Tags=[{"Key": key, "Value": key} for key in "abc"])
    tag(**whose, Tags=[{"Key": "B", "Value": "new"}])
    first = show(**whose, MaxItems=2)
    assert first["Tags"] == [{"Key": "a", "Value": "a"}, {"Key": "B", "Value": "new"}]
    assert show(**whose, Marker=first["Marker"])["Tags"] == [{"Key": "c", "Value": "c"}]
    untag(**whose, TagKeys=["A", "b", "absent"])
    assert show(**whose)["Tags"] == [{"Key": "c", "Value": "c"}]
    many = [{"Key": f"k{number}", "Value": ""} for number in range(50)]
    refused("LimitExceeded", tag, **whose, Tags=many)
    refused("InvalidInput", tag, **whose, Tags=[{"Key": "aws:x", "Value": ""}])
