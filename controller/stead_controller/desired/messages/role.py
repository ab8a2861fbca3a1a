"""Builds a guest's role credentials from its instance's association with an instance profile.

The secret key is not stored: it is sealed inside the session token, and added when the machine is sent. Credentials
for requests to the metadata service without a token are made then, too.
"""

from collections.abc import Callable

from stead_controller.db.session import Transaction
from stead_controller.db.tables import Instance, InstanceProfileAssociation
from stead_controller.request.session_tokens import Opened, TemporaryCredentials
from stead_proto.v1 import desired_pb2 as pb

type OpenSession = Callable[[str, str], Opened | None]
"""From the id of a temporary access key and its session token to what is in it; None when it is no such token."""

type MintTwin = Callable[[Opened], TemporaryCredentials | None]
"""From a session to the credentials of who asks without a token; None: they are the same."""


def of_role(tx: Transaction, instance: Instance) -> pb.RoleCredentials | None:
    """Build the credentials of a running instance; None when it has no instance profile."""
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


def with_secret(body: bytes, open_session: OpenSession, mint_twin: MintTwin) -> bytes:
    """Add the secret keys to an encoded machine: appended fields are merged with those of the message."""
    words = pb.Resource.FromString(body).machine.metadata
    opened = open_session(words.role.access_key_id, words.role.session_token) if words.role.session_token else None
    if opened is None:
        return body
    added = pb.RoleCredentials(secret_access_key=opened.secret)
    twin = None if words.options.tokens_required else mint_twin(opened)
    if twin is not None:
        added.without_token.access_key_id = twin.access_key_id
        added.without_token.secret_access_key = twin.secret_access_key
        added.without_token.session_token = twin.session_token
    return body + pb.Resource(machine=pb.Machine(metadata=pb.Metadata(role=added))).SerializeToString()
