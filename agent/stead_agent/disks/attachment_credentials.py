"""Credentials that a guest's QEMU presents to a volume's home host; requested from the controller, stored nowhere."""

from collections.abc import Callable, Sequence
from typing import Final

import grpc

from stead_proto import tls
from stead_proto.tls import Identity
from stead_proto.v1 import host_pb2, host_pb2_grpc

_ANSWER_SECONDS: Final = 5.0
_REFUSALS: Final = frozenset({grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNIMPLEMENTED})


class CredentialsError(Exception):
    """Credentials could not be obtained; the message is for the operator."""


class NoCredentialsError(CredentialsError):
    """The controller issues none for this attachment, or is too old to know them."""


class AttachmentCredentials:
    """Requests credentials of attachments from the controllers; any thread may call."""

    def __init__(self, controllers: Sequence[str], identity: Callable[[], Identity]) -> None:
        """Connect later; `identity` is this host's, read again for each call since it may have been renewed."""
        self._controllers = controllers
        self._identity = identity

    def __call__(self, volume_id: str, generation: int) -> Identity:
        """Get a key and certificate for one attachment of this host; raises CredentialsError, NoCredentialsError."""
        request = host_pb2.AttachmentCredentialsRequest(volume_id=volume_id, generation=generation)
        try:
            identity = self._identity()
        except (tls.NoIdentityError, OSError) as error:
            raise CredentialsError(str(error)) from error
        reason = "there is no controller"
        for address in self._controllers:
            with tls.blocking_channel_to_controller(address, identity) as channel:
                stub = host_pb2_grpc.HostLinkStub(channel)
                try:
                    answer = stub.AttachmentCredentials(request, timeout=_ANSWER_SECONDS)
                except grpc.RpcError as error:
                    reason = f"{error.code().name}: {error.details()}"
                    if error.code() in _REFUSALS:
                        raise NoCredentialsError(reason) from error
                    continue
                return Identity(answer.key_pem, answer.certificate_pem, answer.ca_pem)
        raise CredentialsError(reason)
