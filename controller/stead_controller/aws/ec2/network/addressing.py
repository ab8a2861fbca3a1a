"""Sources of IP addresses that EC2 has and this cloud does not have."""

from typing import Final

from stead_controller.aws.call import Call, Params
from stead_controller.errors import InvalidParameter, Unsupported

_SOURCES: Final = {
    "Ipv4IpamPoolId": "IPAM pools",
    "Ipv4NetmaskLength": "IPAM pools",
    "Ipv6IpamPoolId": "IPAM pools",
    "Ipv6NetmaskLength": "IPAM pools",
    "Ipv6Pool": "IPv6 pools other than the cloud's own",
    "OutpostArn": "Outposts",
    "VpcEncryptionControl": "Encryption controls of VPCs",
}


def refuse_other_sources(params: Params) -> None:
    """Raise Unsupported if a request asks for addresses from such a source."""
    for name, what in _SOURCES.items():
        if params.get(name) is not None:
            raise Unsupported(f"{what} are not supported by this cloud ({name}).")


def check_border_group(call: Call, params: Params, name: str) -> None:
    """Raise InvalidParameter for another network border group than the region, which is the only one."""
    if params.get(name, call.cloud.region) != call.cloud.region:
        raise InvalidParameter(f"The network border group '{params[name]}' does not exist")
