"""Calls of an operator to a controller that is not as they expect."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest

from stead_cli import operator as calls
from stead_cli.errors import CliError
from stead_cli.operator import Operator
from stead_cli.settings import Settings
from stead_proto import tls
from stead_proto.certificates import Authority
from stead_proto.v1 import operator_pb2 as pb
from stead_proto.v1 import operator_pb2_grpc


class EarlierImages(operator_pb2_grpc.ImagesServicer):
    """Takes the header in silence and waits for the file, as controllers did."""

    def ImportImage(self, request_iterator: Any, context: Any) -> Iterator[pb.ImportImageResponse]:  # noqa: N802 - the name of the RPC
        del context
        size = sum(len(message.content) for message in request_iterator)
        yield pb.ImportImageResponse(image_id=f"ami-of-{size}-bytes", percent=100)


class EarlierHosts(operator_pb2_grpc.HostsServicer):
    """Knows no tokens for one host, and makes one for any machine."""

    def CreateEnrolmentToken(  # noqa: N802 - the name of the RPC
        self, request: pb.CreateEnrolmentTokenRequest, context: Any
    ) -> pb.CreateEnrolmentTokenResponse:
        del request, context
        return pb.CreateEnrolmentTokenResponse(token="of any machine", expires=5)


@pytest.fixture
def operator(tmp_path: Path) -> Iterator[Operator]:
    """An operator of a controller of an earlier release."""
    authority = Authority.create()
    server = grpc.server(ThreadPoolExecutor(2))
    operator_pb2_grpc.add_ImagesServicer_to_server(EarlierImages(), server)
    operator_pb2_grpc.add_HostsServicer_to_server(EarlierHosts(), server)
    port = server.add_secure_port("127.0.0.1:0", tls.server_credentials(authority.issue_server(["127.0.0.1"])))
    server.start()
    settings = Settings(state_dir=tmp_path, host_port=port)
    identity = authority.issue_operator("me")
    settings.access_dir.mkdir(parents=True, exist_ok=True)
    for name, content in (
        ("operator-key.pem", identity.key_pem),
        ("operator.pem", identity.certificate_pem),
        ("ca.pem", identity.ca_pem),
    ):
        (settings.access_dir / name).write_bytes(content)
    yield Operator(settings)
    server.stop(None).wait(60)


def test_an_upload_to_a_controller_that_says_nothing_of_the_header_ends_with_words(
    operator: Operator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(calls, "_CALL_SECONDS", 1.0)
    file = tmp_path / "disk.raw"
    file.write_bytes(bytes(4096))
    sent: list[int] = []
    with pytest.raises(CliError, match="did not take the image's header in 1 seconds") as refused:
        operator.import_image(pb.ImportImageHeader(name="mine", file_size=4096), file, sent.append)
    assert "earlier release" in refused.value.hint
    assert sent == []


def test_a_controller_that_binds_no_token_to_a_host_is_found_out(operator: Operator) -> None:
    assert operator.create_token().token == "of any machine"
    with pytest.raises(CliError, match="makes no token for one host"):
        operator.create_token(host_id="h-1")
