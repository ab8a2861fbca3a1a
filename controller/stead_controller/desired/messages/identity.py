"""Builds a machine's instance identity document and credentials, which are made when it is sent and never stored.

See https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instance-identity-documents.html.
"""

import json
from collections.abc import Callable
from datetime import UTC, datetime

from stead_controller.db.tables import Instance
from stead_controller.request.session_tokens import TemporaryCredentials
from stead_proto.v1 import desired_pb2 as pb

type SignDocument = Callable[[bytes], tuple[bytes, bytes]]
"""From a document to its signature and its signed message."""

type MintSession = Callable[[str, str, int], TemporaryCredentials]
"""From account, instance and the Unix time at which its session began to the session's credentials."""


def document(machine: pb.Machine) -> bytes:
    """Write the document, with its fields in EC2's order."""
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
        "privateIp": words.private_address or None,
        "ramdiskId": None,
        "region": words.region,
        "version": "2017-09-30",
    }
    return json.dumps(fields, indent=2, separators=(",", " : ")).encode()


def signed(body: bytes, sign: SignDocument) -> bytes:
    """Add the signed document to an encoded machine: appended fields are merged with those of the message."""
    written = document(pb.Resource.FromString(body).machine)
    signature, message = sign(written)
    identity = pb.IdentityDocument(document=written, signature=signature, pkcs7=message)
    piece = pb.Resource(machine=pb.Machine(metadata=pb.Metadata(identity=identity)))
    return body + piece.SerializeToString()


def of_session(instance: Instance) -> pb.IdentityCredentials | None:
    """Return the session of a running instance's identity role; None when it has none."""
    if instance.identity_issued is None or instance.state not in ("pending", "running"):
        return None
    return pb.IdentityCredentials(updated=int(instance.identity_issued.timestamp()))


def with_session(body: bytes, mint: MintSession) -> bytes:
    """Add the credentials of its session to an encoded machine that has one."""
    words = pb.Resource.FromString(body).machine.metadata
    if not words.HasField("identity_credentials"):
        return body
    made = mint(words.account_id, words.instance_id, words.identity_credentials.updated)
    added = pb.IdentityCredentials(
        expires=int(made.expires.timestamp()),
        access_key_id=made.access_key_id,
        secret_access_key=made.secret_access_key,
        session_token=made.session_token,
    )
    return body + pb.Resource(machine=pb.Machine(metadata=pb.Metadata(identity_credentials=added))).SerializeToString()
