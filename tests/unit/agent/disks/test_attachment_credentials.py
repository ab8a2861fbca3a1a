"""Credentials of attachments are asked of whichever controller is there; one that is older gives none."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest

from stead_agent.disks.attachment_credentials import AttachmentCredentials, CredentialsError, NoCredentialsError
from stead_proto import tls
from stead_proto.certificates import Authority
from stead_proto.tls import Identity, NoIdentityError
from stead_proto.v1 import host_pb2

VOLUME, HOST = "vol-0123456789abcdef0", "host-00000000000000002"


@pytest.fixture
def authority() -> Authority:
    return Authority.create()


@pytest.fixture(params=["newer", "older"])
def controller(request: pytest.FixtureRequest, authority: Authority) -> Iterator[str]:
    """The address of a controller; an older one knows the service and not the RPC."""

    def give(asked: host_pb2.AttachmentCredentialsRequest, context: Any) -> host_pb2.AttachmentCredentialsResponse:
        made = authority.issue_attachment(asked.volume_id, asked.generation, tls.peer_of(context).name)
        return host_pb2.AttachmentCredentialsResponse(
            key_pem=made.key_pem, certificate_pem=made.certificate_pem, ca_pem=made.ca_pem
        )

    handler = grpc.unary_unary_rpc_method_handler(
        give,
        request_deserializer=host_pb2.AttachmentCredentialsRequest.FromString,
        response_serializer=host_pb2.AttachmentCredentialsResponse.SerializeToString,
    )
    known = {"AttachmentCredentials": handler} if request.param == "newer" else {}
    server = grpc.server(ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("stead.v1.HostLink", known),))
    port = server.add_secure_port("127.0.0.1:0", tls.server_credentials(authority.issue_server()))
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(0).wait()


@pytest.mark.parametrize("controller", ["newer"], indirect=True)
def test_the_next_controller_is_asked_when_one_is_away(authority: Authority, controller: str) -> None:
    host = authority.issue_host(HOST)
    given = AttachmentCredentials(["127.0.0.1:1", controller], lambda: host)(VOLUME, 3)
    assert given.ca_pem == authority.certificate_pem
    assert given.key_pem != host.key_pem
    with pytest.raises(CredentialsError, match="UNAVAILABLE") as away:
        AttachmentCredentials(["127.0.0.1:1"], lambda: host)(VOLUME, 3)
    assert not isinstance(away.value, NoCredentialsError)


@pytest.mark.parametrize("controller", ["older"], indirect=True)
def test_an_older_controller_gives_none(authority: Authority, controller: str) -> None:
    host = authority.issue_host(HOST)
    with pytest.raises(NoCredentialsError, match="UNIMPLEMENTED"):
        AttachmentCredentials([controller], lambda: host)(VOLUME, 3)


def test_a_host_that_is_not_enrolled_sends_no_request() -> None:
    def none() -> Identity:
        raise NoIdentityError("no certificate")

    with pytest.raises(CredentialsError, match="no certificate"):
        AttachmentCredentials(["127.0.0.1:1"], none)(VOLUME, 3)
