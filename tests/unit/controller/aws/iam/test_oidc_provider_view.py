from stead_controller.aws.iam.oidc_provider_view import new_oidc_provider_view, oidc_provider_view
from stead_controller.resources.iam.oidc_providers import DescribedOidcProvider
from tests.support.rows import NOW


def provider(*tags):
    return DescribedOidcProvider("the ARN", "id.example", ["one"], ["ab" * 20], NOW, tags)


def test_an_issuer_is_shown_without_its_arn():
    assert oidc_provider_view(provider()) == {
        "Url": "id.example",
        "ClientIDList": ["one"],
        "ThumbprintList": ["ab" * 20],
        "CreateDate": NOW,
        "Tags": [],
    }
    assert oidc_provider_view(provider(("k", "v")))["Tags"] == [{"Key": "k", "Value": "v"}]


def test_a_new_issuer_is_shown_by_its_arn():
    assert new_oidc_provider_view(provider()) == {"OpenIDConnectProviderArn": "the ARN", "Tags": None}
    assert new_oidc_provider_view(provider(("k", "v")))["Tags"] == [{"Key": "k", "Value": "v"}]
