"""What a right stands on may be gone, by an upgrade or a repair of the database: then there is no right."""

import pytest
from botocore.exceptions import ClientError

from stead_controller.db.tables import AccessKey, IamUser
from tests.api.identity import document, refused, who_may
from tests.support.waiting import wait_for


@pytest.fixture
def iam(api):
    return api.client(api.world.one, "iam")


@pytest.mark.parametrize("arn", ["arn:aws:iam::111111111111:policy/gone", "arn:aws:iam::aws:policy/Gone"])
def test_a_boundary_that_is_gone_lets_nothing_through(api, iam, arn):
    ec2 = who_may(api, iam, "ada", "*")("ec2")
    assert ec2.describe_vpcs()["Vpcs"]
    api.run(lambda tx: setattr(tx.session.query(IamUser).one(), "boundary_arn", arn))
    iam.tag_user(UserName="ada", Tags=[{"Key": "a", "Value": "b"}])  # whereupon policies are looked up again
    refused("UnauthorizedOperation", ec2.describe_vpcs)
    fence = iam.create_policy(PolicyName="Fence", PolicyDocument=document("ec2:*"))["Policy"]["Arn"]
    iam.put_user_permissions_boundary(UserName="ada", PermissionsBoundary=fence)
    assert ec2.describe_vpcs()["Vpcs"]


def test_a_key_whose_user_is_gone_is_nobodys(api, iam):
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
