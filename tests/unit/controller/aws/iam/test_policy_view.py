from stead_controller.authorization.aws_managed import CREATED, AwsPolicy
from stead_controller.aws.iam import policy_view
from stead_controller.db.tables import IamPolicy
from stead_controller.resources.iam.managed_policies import Managed
from stead_controller.resources.iam.policies import DescribedPolicy
from stead_controller.resources.iam.policy_versions import PolicyVersion
from tests.support.rows import NOW

ARN = "arn:aws:iam::123456789012:policy/app/Launch"
ROW = IamPolicy(id="ANPA1", path="/app/", created=CREATED, updated=NOW, description="", default_version=3)
OWN = DescribedPolicy(Managed(ARN, row=ROW), 2, 1, [("k", "v")])
LISTED = {
    "PolicyName": "Launch",
    "PolicyId": "ANPA1",
    "Arn": ARN,
    "Path": "/app/",
    "DefaultVersionId": "v3",
    "AttachmentCount": 2,
    "PermissionsBoundaryUsageCount": 1,
    "IsAttachable": True,
    "CreateDate": CREATED,
    "UpdateDate": NOW,
}


def test_a_list_shows_neither_description_nor_tags():
    assert policy_view.listed_policy_view(OWN) == LISTED


def test_a_policy_by_itself_has_description_and_tags():
    shown = policy_view.policy_view(OWN)
    assert shown == {**LISTED, "Description": None, "Tags": [{"Key": "k", "Value": "v"}]}


def test_a_new_policy_without_tags_has_no_list_of_them():
    assert policy_view.new_policy_view(OWN) == {**LISTED, "Tags": [{"Key": "k", "Value": "v"}]}
    assert policy_view.new_policy_view(DescribedPolicy(OWN.policy, 0, 0))["Tags"] is None


def test_a_policy_of_aws_has_one_version_and_no_tags():
    aws = AwsPolicy("ANPA2", "Look", "/", "looks", "{}")
    shown = policy_view.policy_view(DescribedPolicy(Managed(aws.arn, aws=aws), 0, 0))
    assert (shown["PolicyName"], shown["Arn"], shown["Path"]) == ("Look", "arn:aws:iam::aws:policy/Look", "/")
    assert (shown["DefaultVersionId"], shown["Description"], shown["Tags"]) == ("v1", "looks", [])
    assert (shown["CreateDate"], shown["UpdateDate"]) == (CREATED, CREATED)


def test_the_document_of_a_version_is_url_encoded():
    version = PolicyVersion(2, default=True, created=NOW, document='{"a":1}')
    listed = {"VersionId": "v2", "IsDefaultVersion": True, "CreateDate": NOW}
    assert policy_view.listed_version_view(version) == listed
    assert policy_view.version_view(version) == {**listed, "Document": "%7B%22a%22%3A1%7D"}


def test_an_attached_policy_is_shown_by_name_and_arn():
    assert policy_view.attached_policy_view(ARN) == {"PolicyName": "Launch", "PolicyArn": ARN}
