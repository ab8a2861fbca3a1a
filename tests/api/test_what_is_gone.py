"""What a right stands on may be gone, by an upgrade or a repair of the database: then there is no right."""

import pytest
from botocore.exceptions import ClientError

from stead_controller.db.tables import AccessKey, IamUser
from stead_controller.errors import BadRequest
from stead_controller.request.caller import Caller
from stead_controller.request.questions import PasswordCheck
from stead_controller.resources.iam import login_profiles
from stead_controller.resources.iam.login_profiles import Password
from tests.api.identity import document, refused, who_may
from tests.support.waiting import wait_for


@pytest.fixture
def iam(api):
    return api.client(api.world.one, "iam")


def test_a_password_that_was_right_a_moment_ago_changes_nothing(api, iam):
    """It is compared outside the transaction: somebody may have changed it meanwhile."""
    iam.create_user(UserName="ada")
    iam.create_login_profile(UserName="ada", Password="first-Password-1")

    def change(tx, remaining):
        ada = tx.session.query(IamUser).one()
        caller = Caller(ada.account_id, "arn", ada.id, "AKIA", "user", principal_id=ada.id, user_name="ada")
        asked = PasswordCheck((("first-Password-1", remaining or ada.password_hash),))
        login_profiles.change(tx, caller, asked, Password("new", "hash of new"), b"\x01", now=api.world.now)
        return ada.password_hash

    with pytest.raises(BadRequest, match="The old password was incorrect"):
        api.run(change, "what it was before")
    assert api.run(change, None) == "hash of new"


@pytest.mark.parametrize("arn", ["arn:aws:iam::111111111111:policy/gone", "arn:aws:iam::aws:policy/Gone"])
def test_a_deleted_boundary_allows_nothing(api, iam, arn):
    ec2 = who_may(api, iam, "ada", "*")("ec2")
    assert ec2.describe_vpcs()["Vpcs"]
    api.run(lambda tx: setattr(tx.session.query(IamUser).one(), "boundary_arn", arn))
    iam.tag_user(UserName="ada", Tags=[{"Key": "a", "Value": "b"}])  # whereupon policies are looked up again
    refused("UnauthorizedOperation", ec2.describe_vpcs)
    fence = iam.create_policy(PolicyName="Fence", PolicyDocument=document("ec2:*"))["Policy"]["Arn"]
    iam.put_user_permissions_boundary(UserName="ada", PermissionsBoundary=fence)
    assert ec2.describe_vpcs()["Vpcs"]


def test_a_key_of_a_deleted_user_is_invalid(api, iam):
    """Least of all root's, whose keys have no user either."""
    sts = who_may(api, iam, "ada", "*")("sts")
    assert sts.get_caller_identity()["Arn"].endswith(":user/ada")

    def is_refused():
        try:
            sts.get_caller_identity()
        except ClientError as refusal:
            return refusal.response["Error"]["Code"] == "InvalidClientTokenId"
        return False

    def lose(tx):
        ada = tx.session.query(IamUser).one()
        tx.session.query(AccessKey).where(AccessKey.user_id == ada.id).update({"user_id": "AIDA" + "A" * 17})

    api.run(lose)
    wait_for(is_refused, "the key is refused", 3)
