import json

import pytest

from tests.api.identity import READ_ONLY, document, refused, trust


@pytest.fixture(scope="module")
def owner(cloud):
    return cloud.new_account()


@pytest.fixture(scope="module")
def iam(owner):
    return owner.client("iam")


def test_a_policy_has_five_versions_of_which_one_counts(owner, iam):
    made = iam.create_policy(
        PolicyName="Launch", Path="/app/", PolicyDocument=document("ec2:RunInstances"), Description="d"
    )["Policy"]
    arn = made["Arn"]
    assert arn == f"arn:aws:iam::{owner.account_id}:policy/app/Launch"
    iam.get_waiter("policy_exists").wait(PolicyArn=arn)
    refused("EntityAlreadyExists", iam.create_policy, PolicyName="launch", PolicyDocument=document("ec2:*"))
    for number in range(2, 6):
        default = number == 3
        version = iam.create_policy_version(
            PolicyArn=arn, PolicyDocument=document(f"ec2:Describe{number}"), SetAsDefault=default
        )["PolicyVersion"]
        assert (version["VersionId"], version["IsDefaultVersion"]) == (f"v{number}", default)
    refused("LimitExceeded", iam.create_policy_version, PolicyArn=arn, PolicyDocument=document("ec2:*"))
    shown = iam.get_policy_version(PolicyArn=arn, VersionId="v3")["PolicyVersion"]
    assert shown["Document"] == json.loads(document("ec2:Describe3"))
    assert iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"] == "v3"
    refused("DeleteConflict", iam.delete_policy_version, PolicyArn=arn, VersionId="v3")
    iam.set_default_policy_version(PolicyArn=arn, VersionId="v1")
    iam.delete_policy_version(PolicyArn=arn, VersionId="v3")
    refused("NoSuchEntity", iam.get_policy_version, PolicyArn=arn, VersionId="v3")
    refused("ValidationError", iam.get_policy_version, PolicyArn=arn, VersionId="3")
    again = iam.create_policy_version(PolicyArn=arn, PolicyDocument=document("ec2:*"))["PolicyVersion"]
    assert again["VersionId"] == "v6"
    pages = list(iam.get_paginator("list_policy_versions").paginate(PolicyArn=arn, PaginationConfig={"PageSize": 3}))
    listed = [[version["VersionId"] for version in page["Versions"]] for page in pages]
    assert listed == [["v6", "v5", "v4"], ["v2", "v1"]]
    assert "version" in refused("DeleteConflict", iam.delete_policy, PolicyArn=arn)
    for version_id in ("v2", "v4", "v5", "v6"):
        iam.delete_policy_version(PolicyArn=arn, VersionId=version_id)
    iam.delete_policy(PolicyArn=arn)
    assert refused("NoSuchEntity", iam.get_policy, PolicyArn=arn) == f"Policy {arn} was not found."


@pytest.mark.parametrize(
    "text",
    [
        "no json",
        "[]",
        "{}",
        '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"ec2:*"}]}',
        '{"Version":"2012-10-17","Statement":[{"Effect":"Maybe","Action":"ec2:*","Resource":"*"}]}',
        '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*","Principal":"*"}]}',
        '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"launch","Resource":"*"}]}',
        '{"Version":"2013","Statement":[]}',
        '{"Statement":[{"Effect":"Allow","Action":"ec2:*","Resource":"*"}]}',
        '{"Version":"2008-10-17","Statement":[{"Effect":"Allow","Action":"ec2:*","Resource":"*"}]}',
        document("ec2:*").replace('"*"}', '"*","Condition":{"DateLessThan":{"aws:TokenIssueTime":"noon"}}}'),
        trust(),
    ],
)
def test_malformed_policies_are_refused(iam, text):
    refused("MalformedPolicyDocument", iam.create_policy, PolicyName="bad", PolicyDocument=text)


def test_older_policies_may_only_be_inline(iam):
    iam.create_user(UserName="old")
    text = '{"Version":"2008-10-17","Statement":[{"Effect":"Allow","Action":"ec2:*","Resource":"*"}]}'
    iam.put_user_policy(UserName="old", PolicyName="p", PolicyDocument=text)
    bad = text.replace('"*"}', '"*","Condition":{"IpAddress":{"aws:SourceIp":"10.0.0.0/40"}}}')
    refused("MalformedPolicyDocument", iam.put_user_policy, UserName="old", PolicyName="p", PolicyDocument=bad)
    message = refused("MalformedPolicyDocument", iam.create_policy, PolicyName="old", PolicyDocument=text)
    assert message == "Policy document must be version 2012-10-17 or greater."


def test_too_large_policies_are_refused(iam):
    large = document(*(f"ec2:{'A' * 60}{number}" for number in range(120)))
    message = refused("LimitExceeded", iam.create_policy, PolicyName="large", PolicyDocument=large)
    assert message == "Cannot exceed quota for PolicySize: 6144"
    iam.create_policy(PolicyName="airy", PolicyDocument=document("ec2:*") + " " * 7000)
    iam.create_user(UserName="inline")
    half = document(f"ec2:{'A' * 1000}")
    iam.put_user_policy(UserName="inline", PolicyName="one", PolicyDocument=half)
    message = refused("LimitExceeded", iam.put_user_policy, UserName="inline", PolicyName="two", PolicyDocument=half)
    assert message == "Maximum policy size of 2048 bytes exceeded for user inline"
    iam.put_user_policy(UserName="inline", PolicyName="one", PolicyDocument=half)


@pytest.mark.parametrize("kind", ["user", "group", "role"])
def test_inline_and_attached_policies_of_each_kind(iam, kind):
    title, name = kind.capitalize(), f"{kind}-with-policies"
    whose = {f"{title}Name": name}
    extra = {"AssumeRolePolicyDocument": trust()} if kind == "role" else {}
    getattr(iam, f"create_{kind}")(**whose, **extra)

    def call(operation, **params):
        return getattr(iam, operation)(**whose, **params)

    for policy_name in ("a", "b", "c"):
        call(f"put_{kind}_policy", PolicyName=policy_name, PolicyDocument=document("s3:*"))
    call(f"put_{kind}_policy", PolicyName="b", PolicyDocument=document("ec2:*"))
    shown = call(f"get_{kind}_policy", PolicyName="b")
    assert shown["PolicyDocument"] == json.loads(document("ec2:*"))
    assert shown[f"{title}Name"] == name
    first = call(f"list_{kind}_policies", MaxItems=2)
    assert (first["PolicyNames"], first["IsTruncated"]) == (["a", "b"], True)
    assert call(f"list_{kind}_policies", Marker=first["Marker"])["PolicyNames"] == ["c"]
    call(f"delete_{kind}_policy", PolicyName="a")
    message = refused("NoSuchEntity", getattr(iam, f"get_{kind}_policy"), **whose, PolicyName="a")
    assert message == f"The {kind} policy with name a cannot be found."

    own = iam.create_policy(PolicyName=f"for-{kind}", Path="/x/", PolicyDocument=document("ec2:*"))["Policy"]["Arn"]
    for arn in (own, READ_ONLY, own):
        call(f"attach_{kind}_policy", PolicyArn=arn)
    attached = call(f"list_attached_{kind}_policies")["AttachedPolicies"]
    assert {policy["PolicyArn"]: policy["PolicyName"] for policy in attached} == {
        own: f"for-{kind}",
        READ_ONLY: "ReadOnlyAccess",
    }
    assert len(call(f"list_attached_{kind}_policies", PathPrefix="/x/")["AttachedPolicies"]) == 1
    assert iam.get_policy(PolicyArn=own)["Policy"]["AttachmentCount"] == 1
    assert iam.list_entities_for_policy(PolicyArn=own)[f"Policy{title}s"][0][f"{title}Name"] == name
    refused("DeleteConflict", iam.delete_policy, PolicyArn=own)
    refused("DeleteConflict", getattr(iam, f"delete_{kind}"), **whose)
    call(f"detach_{kind}_policy", PolicyArn=own)
    refused("NoSuchEntity", getattr(iam, f"detach_{kind}_policy"), **whose, PolicyArn=own)
    iam.delete_policy(PolicyArn=own)
    message = refused("NoSuchEntity", getattr(iam, f"attach_{kind}_policy"), **whose, PolicyArn=own)
    assert message == f"Policy {own} does not exist or is not attachable."


def test_ten_policies_at_most_are_attached(iam):
    iam.create_user(UserName="many")
    for number in range(11):
        made = iam.create_policy(PolicyName=f"many{number}", PolicyDocument=document("ec2:*"))["Policy"]
        if number < 10:
            iam.attach_user_policy(UserName="many", PolicyArn=made["Arn"])
    message = refused("LimitExceeded", iam.attach_user_policy, UserName="many", PolicyArn=made["Arn"])
    assert message == "Cannot exceed quota for PoliciesPerUser: 10"
    pages = iam.get_paginator("list_attached_user_policies").paginate(UserName="many", PaginationConfig={"PageSize": 4})
    assert [len(page["AttachedPolicies"]) for page in pages] == [4, 4, 2]


def test_policies_are_listed_by_scope_and_use(cloud):
    iam = cloud.new_account().client("iam")
    used = iam.create_policy(PolicyName="used", PolicyDocument=document("ec2:*"))["Policy"]["Arn"]
    bound = iam.create_policy(PolicyName="bound", PolicyDocument=document("ec2:*"))["Policy"]["Arn"]
    iam.create_policy(PolicyName="idle", PolicyDocument=document("ec2:*"))
    iam.create_user(UserName="u", PermissionsBoundary=bound)
    iam.attach_user_policy(UserName="u", PolicyArn=used)
    iam.attach_user_policy(UserName="u", PolicyArn=READ_ONLY)

    def names(**params):
        pages = iam.get_paginator("list_policies").paginate(**params, PaginationConfig={"PageSize": 10})
        return [policy["PolicyName"] for page in pages for policy in page["Policies"]]

    assert names(Scope="Local") == ["bound", "idle", "used"]
    assert names(OnlyAttached=True) == ["ReadOnlyAccess", "bound", "used"]
    assert names(OnlyAttached=True, PolicyUsageFilter="PermissionsBoundary") == ["bound"]
    assert names(Scope="Local", OnlyAttached=True, PolicyUsageFilter="PermissionsPolicy") == ["used"]
    aws = names(Scope="AWS")
    assert {"AdministratorAccess", "PowerUserAccess", "AmazonEC2FullAccess", "AmazonS3ReadOnlyAccess"} <= set(aws)
    assert names() == [*aws, "bound", "idle", "used"]
    by_function = names(Scope="AWS", PathPrefix="/job-function/")
    assert set(by_function) < set(aws)
    assert {"NetworkAdministrator", "ViewOnlyAccess"} <= set(by_function)
    assert "AmazonEC2FullAccess" not in by_function
    refused("DeleteConflict", iam.delete_policy, PolicyArn=bound)
    assert iam.get_policy(PolicyArn=bound)["Policy"]["PermissionsBoundaryUsageCount"] == 1
    entities = iam.list_entities_for_policy(PolicyArn=bound, PolicyUsageFilter="PermissionsBoundary")
    assert [user["UserName"] for user in entities["PolicyUsers"]] == ["u"]
    assert iam.list_entities_for_policy(PolicyArn=bound, EntityFilter="Role")["PolicyRoles"] == []
    iam.delete_user_permissions_boundary(UserName="u")
    iam.put_user_permissions_boundary(UserName="u", PermissionsBoundary=READ_ONLY)
    assert iam.get_policy(PolicyArn=READ_ONLY)["Policy"]["PermissionsBoundaryUsageCount"] == 1
    iam.delete_policy(PolicyArn=bound)


def test_entities_of_a_policy_come_in_pages(iam):
    arn = iam.create_policy(PolicyName="spread", PolicyDocument=document("ec2:*"))["Policy"]["Arn"]
    for number in range(3):
        iam.create_user(UserName=f"spread{number}")
        iam.attach_user_policy(UserName=f"spread{number}", PolicyArn=arn)
        iam.create_group(GroupName=f"spread{number}")
        iam.attach_group_policy(GroupName=f"spread{number}", PolicyArn=arn)
    pages = list(
        iam.get_paginator("list_entities_for_policy").paginate(PolicyArn=arn, PaginationConfig={"PageSize": 4})
    )
    assert [(len(page["PolicyGroups"]), len(page["PolicyUsers"])) for page in pages] == [(3, 1), (0, 2)]


def test_policies_of_aws_are_read_and_never_changed(iam):
    shown = iam.get_policy(PolicyArn=READ_ONLY)["Policy"]
    assert (shown["PolicyName"], shown["DefaultVersionId"]) == ("ReadOnlyAccess", "v1")
    version = iam.get_policy_version(PolicyArn=READ_ONLY, VersionId="v1")["PolicyVersion"]
    assert "ec2:Describe*" in version["Document"]["Statement"][0]["Action"]
    refused("AccessDenied", iam.delete_policy, PolicyArn=READ_ONLY)
    refused("AccessDenied", iam.create_policy_version, PolicyArn=READ_ONLY, PolicyDocument=document("ec2:*"))
    refused("InvalidInput", iam.get_policy, PolicyArn="arn:aws:iam::123456789012:user/no-policy")


def test_another_accounts_policy_is_absent(cloud, iam):
    other = cloud.new_account().client("iam")
    arn = iam.create_policy(PolicyName="private", PolicyDocument=document("ec2:*"))["Policy"]["Arn"]
    assert refused("NoSuchEntity", other.get_policy, PolicyArn=arn) == f"Policy {arn} was not found."
    other.create_policy(PolicyName="private", PolicyDocument=document("ec2:*"))
    refused("NoSuchEntity", other.delete_policy, PolicyArn=arn)
    other.create_user(UserName="thief")
    refused("NoSuchEntity", other.attach_user_policy, UserName="thief", PolicyArn=arn)


def test_policies_of_aws_have_no_tags(iam):
    assert iam.list_policy_tags(PolicyArn=READ_ONLY)["Tags"] == []
    refused("AccessDenied", iam.tag_policy, PolicyArn=READ_ONLY, Tags=[{"Key": "k", "Value": "v"}])
    refused("AccessDenied", iam.untag_policy, PolicyArn=READ_ONLY, TagKeys=["k"])
