"""OpenID Connect providers."""

from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.aws.iam.oidc_provider_view import new_oidc_provider_view, oidc_provider_view
from stead_controller.aws.iam.tags_view import given_tags
from stead_controller.errors import Unsupported
from stead_controller.resources.iam import oidc_providers


@operation("CreateOpenIDConnectProvider", service="iam")
def create_open_id_connect_provider(call: Call, params: Params) -> Result:
    """Create a provider."""
    for name in ("ContextProvider", "IdentityCenterInstanceArn"):
        if params.get(name):
            raise Unsupported(f"The parameter {name} is not supported.")
    made = oidc_providers.create(
        call.tx,
        call.caller,
        params["Url"],
        client_ids=params.get("ClientIDList", ()),
        thumbprints=params.get("ThumbprintList", ()),
        tags=given_tags(params),
        now=call.now,
    )
    return new_oidc_provider_view(made)


@operation("GetOpenIDConnectProvider", service="iam", writes=False)
def get_open_id_connect_provider(call: Call, params: Params) -> Result:
    """Show a provider."""
    return oidc_provider_view(oidc_providers.get(call.tx, call.caller, params["OpenIDConnectProviderArn"]))


@operation("ListOpenIDConnectProviders", service="iam", writes=False)
def list_open_id_connect_providers(call: Call, params: Params) -> Result:
    """List providers."""
    del params
    arns = oidc_providers.of_account(call.tx, call.caller)
    return {"OpenIDConnectProviderList": [{"Arn": arn} for arn in arns]}


@operation("AddClientIDToOpenIDConnectProvider", service="iam")
def add_client_id_to_open_id_connect_provider(call: Call, params: Params) -> Result:
    """Add a client id (audience)."""
    oidc_providers.add_client(call.tx, call.caller, params["OpenIDConnectProviderArn"], params["ClientID"])
    return {}


@operation("RemoveClientIDFromOpenIDConnectProvider", service="iam")
def remove_client_id_from_open_id_connect_provider(call: Call, params: Params) -> Result:
    """Remove a client id (audience)."""
    oidc_providers.remove_client(call.tx, call.caller, params["OpenIDConnectProviderArn"], params["ClientID"])
    return {}


@operation("UpdateOpenIDConnectProviderThumbprint", service="iam")
def update_open_id_connect_provider_thumbprint(call: Call, params: Params) -> Result:
    """Replace a provider's thumbprints."""
    arn = params["OpenIDConnectProviderArn"]
    oidc_providers.set_thumbprints(call.tx, call.caller, arn, params["ThumbprintList"])
    return {}


@operation("DeleteOpenIDConnectProvider", service="iam")
def delete_open_id_connect_provider(call: Call, params: Params) -> Result:
    """Delete a provider."""
    oidc_providers.remove(call.tx, call.caller, params["OpenIDConnectProviderArn"])
    return {}
