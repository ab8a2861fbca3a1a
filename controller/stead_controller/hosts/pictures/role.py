"""An instance's association with its instance profile becomes what its guest is told of its role.

The secret key is kept nowhere: it is in the session token, sealed, and added as the machine is sent.
"""

from collections.abc import Callable

from stead_controller.db.session import Transaction
from stead_controller.db.tables import Instance, InstanceProfileAssociation
from stead_proto.v1 import desired_pb2 as pb

type OpenSession = Callable[[str, str], str]
"""From the id of a temporary access key and its session token to the secret key; empty when it is no such token."""


def of_role(tx: Transaction, instance: Instance) -> pb.RoleCredentials | None:
    """Draw the credentials of an instance that runs; None when it has no instance profile."""
    if instance.profile_association_id is None or instance.state not in ("pending", "running"):
        return None
    association = tx.session.get_one(InstanceProfileAssociation, instance.profile_association_id)
    if not association.code or association.updated is None:
        return None
    return pb.RoleCredentials(
        profile_arn=association.profile_arn,
        profile_id=association.profile_id,
        role_name=association.role_name,
        code=association.code,
        updated=int(association.updated.timestamp()),
        expires=0 if association.expires is None else int(association.expires.timestamp()),
        access_key_id=association.access_key_id,
        session_token=association.session_token,
    )


def with_secret(body: bytes, open_session: OpenSession) -> bytes:
    """Add the secret key to an encoded machine: of a message that comes in pieces, the pieces are merged."""
    role = pb.Resource.FromString(body).machine.metadata.role
    if not role.session_token:
        return body
    secret = open_session(role.access_key_id, role.session_token)
    piece = pb.Metadata(role=pb.RoleCredentials(secret_access_key=secret))
    return body + pb.Resource(machine=pb.Machine(metadata=piece)).SerializeToString()
