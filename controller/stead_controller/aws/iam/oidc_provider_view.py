"""OpenID Connect providers as IAM shows them."""

from stead_controller.aws.call import Result
from stead_controller.aws.iam.tags_view import tags_view
from stead_controller.resources.iam.oidc_providers import DescribedOidcProvider


def oidc_provider_view(found: DescribedOidcProvider) -> Result:
    """Show a provider."""
    return {
        "Url": found.url,
        "ClientIDList": list(found.client_ids),
        "ThumbprintList": list(found.thumbprints),
        "CreateDate": found.created,
        "Tags": tags_view(found.tags),
    }


def new_oidc_provider_view(made: DescribedOidcProvider) -> Result:
    """Show a new provider."""
    return {"OpenIDConnectProviderArn": made.arn, "Tags": tags_view(made.tags) or None}
