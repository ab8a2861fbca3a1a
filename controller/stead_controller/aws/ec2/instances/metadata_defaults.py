"""GetInstanceMetadataDefaults and ModifyInstanceMetadataDefaults: an account's defaults for launches."""

from typing import Final

from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.aws.ec2.instances.metadata_options_view import metadata_defaults_view
from stead_controller.errors import InvalidParameter
from stead_controller.resources.instances import metadata_options
from stead_controller.resources.instances.metadata_options import DefaultsChange

_NO_PREFERENCE: Final = "no-preference"
# The column that a parameter sets, its word for yes and its word for no.
_PREFERENCES: Final = {
    "HttpTokens": ("tokens_required", "required", "optional"),
    "HttpEndpoint": ("enabled", "enabled", "disabled"),
    "InstanceMetadataTags": ("tags", "enabled", "disabled"),
    "HttpTokensEnforced": ("tokens_enforced", "enabled", "disabled"),
}


@operation("GetInstanceMetadataDefaults", writes=False)
def get_instance_metadata_defaults(call: Call, _params: Params) -> Result:
    """Show the account's defaults."""
    return {"AccountLevel": metadata_defaults_view(metadata_options.defaults(call.tx, call.caller.account_id))}


@operation("ModifyInstanceMetadataDefaults")
def modify_instance_metadata_defaults(call: Call, params: Params) -> Result:
    """Change the account's defaults; existing instances are not changed."""
    preferences: dict[str, bool | None] = {}
    for name, (column, yes, no) in _PREFERENCES.items():
        value = params.get(name)
        if value is None:
            continue
        if value not in (yes, no, _NO_PREFERENCE):
            raise InvalidParameter(
                f"Value ({value}) for parameter {name} is invalid. It must be {yes}, {no} or {_NO_PREFERENCE}"
            )
        preferences[column] = None if value == _NO_PREFERENCE else value == yes
    metadata_options.set_defaults(
        call.tx, call.caller, DefaultsChange(preferences, params.get("HttpPutResponseHopLimit"))
    )
    return {"Return": True}
