from stead_controller.aws.iam.account_details_view import details_view
from stead_controller.aws.iam.instance_profile_view import listed_instance_profile_view
from stead_controller.aws.iam.policy_view import listed_policy_view, version_view
from stead_controller.db.tables import IamGroup, IamInstanceProfile, IamPolicy, IamRole, IamUser
from stead_controller.resources.iam.account_details import (
    GroupDetails,
    Policies,
    PolicyDetails,
    RoleDetails,
    UserDetails,
)
from stead_controller.resources.iam.groups import DescribedGroup
from stead_controller.resources.iam.inline_policies import InlinePolicy
from stead_controller.resources.iam.instance_profiles import DescribedInstanceProfile
from stead_controller.resources.iam.managed_policies import Managed
from stead_controller.resources.iam.policies import DescribedPolicy
from stead_controller.resources.iam.policy_versions import PolicyVersion
from stead_controller.resources.iam.roles import DescribedRole
from stead_controller.resources.iam.users import DescribedUser
from tests.support.rows import NOW

LOOK = "arn:aws:iam::aws:policy/Look"
BOUNDARY = {"PermissionsBoundaryType": "Policy", "PermissionsBoundaryArn": LOOK}
HAVING = Policies([InlinePolicy("of it", "i", "{}")], [LOOK])
INLINE = [{"PolicyName": "i", "PolicyDocument": "%7B%7D"}]
ATTACHED = [{"PolicyName": "Look", "PolicyArn": LOOK}]
TAGS = [{"Key": "k", "Value": "v"}]


def test_a_user_is_shown_with_its_groups_and_without_the_use_of_its_password():
    user = IamUser(id="AIDA1", name="ada", path="/", created=NOW, password_last_used=NOW, boundary_arn=LOOK)
    assert details_view(UserDetails(DescribedUser(user, "the ARN", [("k", "v")]), HAVING, ["g"])) == {
        "Path": "/",
        "UserName": "ada",
        "UserId": "AIDA1",
        "Arn": "the ARN",
        "CreateDate": NOW,
        "UserPolicyList": INLINE,
        "GroupList": ["g"],
        "AttachedManagedPolicies": ATTACHED,
        "PermissionsBoundary": BOUNDARY,
        "Tags": TAGS,
    }


def test_a_group_is_shown_with_its_policies():
    group = IamGroup(id="AGPA1", name="g", path="/", created=NOW)
    assert details_view(GroupDetails(DescribedGroup(group, "the ARN"), HAVING)) == {
        "Path": "/",
        "GroupName": "g",
        "GroupId": "AGPA1",
        "Arn": "the ARN",
        "CreateDate": NOW,
        "GroupPolicyList": INLINE,
        "AttachedManagedPolicies": ATTACHED,
    }


def test_a_role_is_shown_with_its_profiles_and_last_use_and_without_its_description():
    row = IamRole(id="AROA1", name="r", path="/", created=NOW, description="d", max_session_duration=7200)
    row.boundary_arn, row.last_used, row.last_used_region = LOOK, NOW, "eu-west-7"
    role = DescribedRole(row, "the ARN", "{}", [("k", "v")])
    profile = DescribedInstanceProfile(IamInstanceProfile(id="AIPA1", name="p", path="/", created=NOW), "its ARN", role)
    assert details_view(RoleDetails(role, HAVING, [profile])) == {
        "Path": "/",
        "RoleName": "r",
        "RoleId": "AROA1",
        "Arn": "the ARN",
        "CreateDate": NOW,
        "AssumeRolePolicyDocument": "%7B%7D",
        "InstanceProfileList": [listed_instance_profile_view(profile)],
        "RolePolicyList": INLINE,
        "AttachedManagedPolicies": ATTACHED,
        "PermissionsBoundary": BOUNDARY,
        "Tags": TAGS,
        "RoleLastUsed": {"LastUsedDate": NOW, "Region": "eu-west-7"},
    }


def test_a_policy_is_shown_with_the_documents_of_its_versions():
    arn = "arn:aws:iam::123456789012:policy/p"
    row = IamPolicy(id="ANPA1", path="/", created=NOW, updated=NOW, description="d", default_version=2)
    policy = DescribedPolicy(Managed(arn, row=row), 1, 0)
    versions = [PolicyVersion(2, default=True, created=NOW, document="{}")]
    shown = details_view(PolicyDetails(policy, versions))
    assert shown == {**listed_policy_view(policy), "PolicyVersionList": [version_view(versions[0])]}
