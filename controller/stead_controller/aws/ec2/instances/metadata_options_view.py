"""Options of instances' metadata service as EC2 shows them."""

from typing import Any

from stead_controller.aws.call import Result
from stead_controller.resources.instances.metadata_options import PreferredOptions


def metadata_options_view(row: Any) -> Result:
    """Show the options of an Instance, or of a row with its columns; they are `applied` once its host confirms them."""
    return {
        "State": "pending" if row.metadata_pending else "applied",
        "HttpTokens": "required" if row.metadata_tokens_required else "optional",
        "HttpPutResponseHopLimit": row.metadata_hop_limit,
        "HttpEndpoint": "enabled" if row.metadata_enabled else "disabled",
        "HttpProtocolIpv6": "enabled" if row.metadata_ipv6 else "disabled",
        "InstanceMetadataTags": "enabled" if row.metadata_tags else "disabled",
    }


def metadata_defaults_view(preferred: PreferredOptions) -> Result:
    """Show an account's defaults; options without a default are left out."""
    return {
        "HttpTokens": _word(preferred.tokens_required, "required", "optional"),
        "HttpPutResponseHopLimit": preferred.hop_limit,
        "HttpEndpoint": _word(preferred.enabled, "enabled", "disabled"),
        "InstanceMetadataTags": _word(preferred.tags, "enabled", "disabled"),
        "ManagedBy": "account",
        "HttpTokensEnforced": _word(preferred.tokens_enforced, "enabled", "disabled"),
    }


def _word(value: bool | None, yes: str, no: str) -> str | None:
    return None if value is None else yes if value else no
