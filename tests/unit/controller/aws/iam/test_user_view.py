from stead_controller.aws.iam import user_view
from stead_controller.db.tables import IamUser
from stead_controller.resources.iam.users import DescribedUser, Root
from tests.support.rows import NOW

BOUNDARY = "arn:aws:iam::aws:policy/ReadOnlyAccess"
ADA = IamUser(id="AIDA1", name="ada", path="/", created=NOW, password_last_used=NOW, boundary_arn=BOUNDARY)
LISTED = {
    "Path": "/",
    "UserName": "ada",
    "UserId": "AIDA1",
    "Arn": "the ARN",
    "CreateDate": NOW,
    "PasswordLastUsed": NOW,
}


def test_a_list_shows_neither_boundary_nor_tags():
    assert user_view.listed_user_view(DescribedUser(ADA, "the ARN", [("k", "v")])) == LISTED


def test_a_user_by_itself_has_its_boundary_and_tags():
    assert user_view.user_view(DescribedUser(ADA, "the ARN", [("k", "v")])) == {
        **LISTED,
        "PermissionsBoundary": {"PermissionsBoundaryType": "Policy", "PermissionsBoundaryArn": BOUNDARY},
        "Tags": [{"Key": "k", "Value": "v"}],
    }


def test_a_user_without_tags_has_no_list_of_them():
    assert user_view.user_view(DescribedUser(ADA, "the ARN"))["Tags"] is None


def test_root_has_no_name():
    assert user_view.root_view(Root("123456789012", "the ARN", NOW)) == {
        "UserId": "123456789012",
        "Arn": "the ARN",
        "CreateDate": NOW,
    }
