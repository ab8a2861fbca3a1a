from stead_controller.aws.iam.instance_profile_view import instance_profile_view, listed_instance_profile_view
from stead_controller.aws.iam.role_view import listed_role_view
from stead_controller.db.tables import IamInstanceProfile, IamRole
from stead_controller.resources.iam.instance_profiles import DescribedInstanceProfile
from stead_controller.resources.iam.roles import DescribedRole
from tests.support.rows import NOW

PROFILE = IamInstanceProfile(id="AIPA1", name="p", path="/", created=NOW)
ROLE = DescribedRole(IamRole(id="AROA1", name="r", path="/", created=NOW), "the role's ARN", "{}")


def test_a_profile_is_shown_with_its_role():
    shown = listed_instance_profile_view(DescribedInstanceProfile(PROFILE, "the ARN", ROLE, [("k", "v")]))
    assert shown == {
        "Path": "/",
        "InstanceProfileName": "p",
        "InstanceProfileId": "AIPA1",
        "Arn": "the ARN",
        "CreateDate": NOW,
        "Roles": [listed_role_view(ROLE)],
    }


def test_a_profile_by_itself_has_its_tags():
    assert instance_profile_view(DescribedInstanceProfile(PROFILE, "the ARN", None))["Tags"] == []
    shown = instance_profile_view(DescribedInstanceProfile(PROFILE, "the ARN", None, [("k", "v")]))
    assert (shown["Tags"], shown["Roles"]) == ([{"Key": "k", "Value": "v"}], [])
