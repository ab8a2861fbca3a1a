"""Service models drive the wire: `codec_for("ec2")` reads requests and writes answers."""

from functools import cache

from stead_controller.aws.protocol.codec import Codec
from stead_controller.aws.protocol.models import load_service
from stead_controller.aws.protocol.query import Ec2Codec, QueryCodec


@cache
def codec_for(service_name: str) -> Codec:
    """The wire of a service by its botocore name; loads the model at the first request for it.

    Raises NotImplementedError for a protocol that Stead does not speak.
    """
    service = load_service(service_name)
    protocols = service.model.metadata.get("protocols", [service.model.metadata["protocol"]])
    if "ec2" in protocols:
        return Ec2Codec(service)
    if "query" in protocols:
        return QueryCodec(service)
    raise NotImplementedError(f"{service_name} speaks {', '.join(protocols)}")
