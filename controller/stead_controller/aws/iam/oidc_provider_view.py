"""OpenID Connect issuers as IAM shows them."""

from stead_controller.aws.call import Result
from stead_controller.aws.iam.tags_view import tags_view
from stead_controller.resources.iam.oidc_providers import DescribedOidcProvider


def oidc_provider_view(found: DescribedOidcProvider) -> Result:
    """Show an issuer."""
    return {
        "Url": found.url,
        "ClientIDList": list(found.client_ids),
        "ThumbprintList": list(found.thumbprints),
        "CreateDate": found.created,
        "Tags": tags_view(found.tags),
    }


def new_oidc_provider_view(made: DescribedOidcProvider) -> Result:
    """Show an issuer that an account has just begun to trust."""
    return {"OpenIDConnectProviderArn": made.arn, "Tags": tags_view(made.tags) or None}
