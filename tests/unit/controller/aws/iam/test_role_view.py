from stead_controller.aws.iam import role_view
from stead_controller.db.tables import IamRole
from stead_controller.resources.iam.roles import DescribedRole
from tests.support.rows import NOW

ROLE = IamRole(
    id="AROA1",
    name="r",
    path="/",
    created=NOW,
    description="",
    max_session_duration=7200,
    last_used=NOW,
    last_used_region="eu-west-7",
)
FOUND = DescribedRole(ROLE, "the ARN", '{"a":1}', [("k", "v")])
LISTED = {
    "Path": "/",
    "RoleName": "r",
    "RoleId": "AROA1",
    "Arn": "the ARN",
    "CreateDate": NOW,
    "AssumeRolePolicyDocument": "%7B%22a%22%3A1%7D",
    "Description": None,
    "MaxSessionDuration": 7200,
}


def test_a_list_shows_neither_boundary_nor_tags_nor_use():
    assert role_view.listed_role_view(FOUND) == LISTED


def test_a_new_role_is_shown_without_its_last_use():
    assert role_view.new_role_view(FOUND) == {
        **LISTED,
        "PermissionsBoundary": None,
        "Tags": [{"Key": "k", "Value": "v"}],
    }


def test_a_role_by_itself_has_its_last_use():
    shown = role_view.role_view(FOUND)
    assert shown == {
        **role_view.new_role_view(FOUND),
        "RoleLastUsed": {"LastUsedDate": NOW, "Region": "eu-west-7"},
    }


def test_a_role_without_tags_has_no_list_of_them():
    assert role_view.role_view(DescribedRole(ROLE, "the ARN", "{}"))["Tags"] is None
