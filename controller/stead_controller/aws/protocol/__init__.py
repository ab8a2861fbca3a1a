"""Codecs for the wire protocols, driven by service models: they parse a service's requests and write its answers.

A service may have several protocols; the request determines which one is used.
"""

from functools import cache

from stead_controller.aws.protocol.codec import Codec
from stead_controller.aws.protocol.json_rpc import JsonCodec
from stead_controller.aws.protocol.message import Request
from stead_controller.aws.protocol.models import load_service
from stead_controller.aws.protocol.query import Ec2Codec, QueryCodec
from stead_controller.aws.protocol.rest_json import RestJsonCodec
from stead_controller.aws.protocol.rpc_cbor import CborCodec

_PREFERENCE = ("ec2", "query", "rest-json", "json", "smithy-rpc-v2-cbor")


def codec_for(service_name: str, request: Request | None = None) -> Codec:
    """Return the codec of a service by its botocore name, in the protocol of a request or else in its first one.

    Loads the model at the first request for it. Raises NotImplementedError if Stead has none of the service's
    protocols.
    """
    protocols = _protocols(service_name)
    if request is not None and "json" in protocols and JsonCodec.speaks(request):
        return _codec(service_name, "json")
    if request is not None and "smithy-rpc-v2-cbor" in protocols and CborCodec.speaks(request):
        return _codec(service_name, "smithy-rpc-v2-cbor")
    return _codec(service_name, protocols[0])


@cache
def _protocols(service_name: str) -> tuple[str, ...]:
    metadata = load_service(service_name).model.metadata
    spoken = metadata.get("protocols", [metadata["protocol"]])
    known = tuple(protocol for protocol in _PREFERENCE if protocol in spoken)
    if not known:
        raise NotImplementedError(f"{service_name} speaks {', '.join(spoken)}")
    return known


@cache
def _codec(service_name: str, protocol: str) -> Codec:
    service = load_service(service_name)
    match protocol:
        case "ec2":
            return Ec2Codec(service)
        case "query":
            return QueryCodec(service)
        case "rest-json":
            return RestJsonCodec(service)
        case "json":
            return JsonCodec(service)
        case "smithy-rpc-v2-cbor":
            return CborCodec(service)
    raise NotImplementedError(protocol)
