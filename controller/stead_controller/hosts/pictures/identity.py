"""A machine becomes its instance identity document, which is signed as the machine is sent and kept nowhere.

See https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instance-identity-documents.html.
"""

import json
from collections.abc import Callable
from datetime import UTC, datetime

from stead_proto.v1 import desired_pb2 as pb

type SignDocument = Callable[[bytes], tuple[bytes, bytes]]
"""From a document to its signature and its signed message."""


def document(machine: pb.Machine) -> bytes:
    """Write the document, its fields in EC2's order."""
    words = machine.metadata
    fields = {
        "accountId": words.account_id,
        "architecture": machine.architecture,
        "availabilityZone": words.availability_zone,
        "billingProducts": None,
        "devpayProductCodes": None,
        "marketplaceProductCodes": None,
        "imageId": words.image_id,
        "instanceId": words.instance_id,
        "instanceType": words.instance_type,
        "kernelId": None,
        "pendingTime": datetime.fromtimestamp(words.pending_time, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "privateIp": words.private_address,
        "ramdiskId": None,
        "region": words.region,
        "version": "2017-09-30",
    }
    return json.dumps(fields, indent=2, separators=(",", " : ")).encode()


def signed(body: bytes, sign: SignDocument) -> bytes:
    """Add its signed document to an encoded machine: of a message that comes in pieces, the pieces are merged."""
    written = document(pb.Resource.FromString(body).machine)
    signature, message = sign(written)
    identity = pb.IdentityDocument(document=written, signature=signature, pkcs7=message)
    piece = pb.Resource(machine=pb.Machine(metadata=pb.Metadata(identity=identity)))
    return body + piece.SerializeToString()
