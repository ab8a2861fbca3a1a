"""Who is refused before any operation is reached reads why: botocore's clients of every protocol, without sockets."""

import asyncio
import re
from typing import Any

import boto3
import botocore
import botocore.config
import pytest
from botocore.awsrequest import AWSResponse
from botocore.exceptions import ClientError
from botocore.parsers import create_parser

from stead_controller.aws.app import AwsApp
from stead_controller.aws.call_record import CallRecord
from stead_controller.aws.protocol import load_service
from stead_controller.aws.protocol.message import Request, Response
from stead_controller.aws.protocol.models import _SERVICE_IDS, _TARGETS, SIGNING_NAMES, service_of_scope
from stead_controller.clock import now
from stead_controller.errors import BadRequest
from tests.unit.controller.aws.conftest import AUTHORIZER, CLOUD, KEY, SECRET, MemoryTransactions, credential
from tests.unit.controller.aws.test_signature import sign

# A service, an operation without effect, and the wire that its client reads.
CALLS = [
    ("ec2", "describe_vpcs", {}),
    ("iam", "list_users", {}),
    ("cloudwatch", "list_metrics", {}),
    ("sns", "list_topics", {}),
    ("ebs", "list_snapshot_blocks", {"SnapshotId": "snap-1"}),
    ("dlm", "get_lifecycle_policies", {}),
    ("cloudtrail", "describe_trails", {}),
    ("service-quotas", "list_services", {}),
    ("budgets", "describe_budgets", {"AccountId": "1" * 12}),
    ("bcm-data-exports", "list_exports", {}),
    ("ce", "list_cost_allocation_tags", {}),
    ("pricing", "describe_services", {}),
    ("ssm", "get_parameters", {"Names": ["x"]}),
    (
        "ec2-instance-connect",
        "send_ssh_public_key",
        {"InstanceId": "i-0123456789", "InstanceOSUser": "u", "SSHPublicKey": "x" * 80},
    ),
    ("logs", "describe_log_groups", {}),
    ("dynamodb", "list_tables", {}),
    ("lambda", "list_functions", {}),
    ("rds", "describe_db_instances", {}),
    ("sqs", "list_queues", {}),
    ("route53", "list_hosted_zones", {}),
    ("cloudfront", "list_distributions", {}),
    ("s3", "list_buckets", {}),
    ("s3", "put_object", {"Bucket": "b", "Key": "k", "Body": b"x"}),
]
OURS = frozenset(
    {
        "ec2",
        "iam",
        "cloudwatch",
        "ebs",
        "dlm",
        "budgets",
        "bcm-data-exports",
        "ce",
        "pricing",
        "cloudtrail",
        "service-quotas",
        "sns",
        "ssm",
        "ec2-instance-connect",
    }
)


class Endpoint:
    """An app that botocore's clients talk to without sockets; `spoil` changes each request's headers on its way."""

    def __init__(self) -> None:
        self.records: list[CallRecord] = []
        self.spoil: Any = lambda headers: headers
        self.answer: Any = None
        self.app = AwsApp(
            transactions=MemoryTransactions(),
            find_key=self.find_key,
            cloud=CLOUD,
            page_key=b"k",
            on_call=self.records.append,
            authorizer=AUTHORIZER,
            operations={},
        )
        self.answer = self.app.handle

    async def find_key(self, access_key_id: str, session_token: str | None) -> Any:
        return credential(KEY) if access_key_id == KEY else None

    def client(self, service: str, *, secret: str = SECRET, signed: bool = True) -> Any:
        make: Any = boto3.client
        client = make(
            service,
            region_name=CLOUD.region,
            endpoint_url="http://stead.example:8773",
            aws_access_key_id=KEY,
            aws_secret_access_key=secret,
            config=botocore.config.Config(
                retries={"total_max_attempts": 1}, signature_version=None if signed else botocore.UNSIGNED
            ),
        )
        client.meta.events.register("before-send", self._send)
        return client

    def _send(self, request: Any, **_: Any) -> AWSResponse:
        url = re.match(r"http://([^/]+)([^?]*)\??(.*)", request.url)
        assert url is not None
        headers = {
            name: value.decode() if isinstance(value, bytes) else str(value) for name, value in request.headers.items()
        }
        headers = self.spoil({"Host": url[1], **headers})
        body = request.body.read() if hasattr(request.body, "read") else request.body or b""
        body = body.encode() if isinstance(body, str) else body
        asked = Request(request.method, url[2], url[3], tuple(headers.items()), body, "192.0.2.1")
        answer: Response = asyncio.run(_awaited(self.answer(asked)))

        class Raw:
            def stream(self, **_: Any) -> Any:
                yield answer.body

        return AWSResponse(request.url, answer.status, {"Content-Type": answer.content_type, **answer.headers}, Raw())

    def refused(self, client: Any, operation: str, params: dict[str, Any]) -> tuple[str, str]:
        with pytest.raises(ClientError) as caught:
            getattr(client, operation)(**params)
        error = caught.value.response["Error"]
        return error["Code"], error["Message"]


async def _awaited(answer: Any) -> Response:
    response: Response = await answer
    return response


@pytest.fixture
def endpoint() -> Endpoint:
    return Endpoint()


def named(client: Any, operation: str) -> str:
    return str(client.meta.method_to_api_mapping[operation])


@pytest.mark.parametrize(("service", "operation", "params"), CALLS)
def test_a_wrong_secret_is_refused_in_the_clients_protocol(
    endpoint: Endpoint, service: str, operation: str, params: dict[str, Any]
) -> None:
    code, message = endpoint.refused(endpoint.client(service, secret="wrong"), operation, params)
    assert code in {"AuthFailure", "SignatureDoesNotMatch", "InvalidSignatureException"}
    assert message


@pytest.mark.parametrize(("service", "operation", "params"), CALLS)
def test_a_broken_scope_is_refused_in_the_clients_protocol(
    endpoint: Endpoint, service: str, operation: str, params: dict[str, Any]
) -> None:
    endpoint.spoil = lambda headers: (
        headers | {"Authorization": headers["Authorization"].replace(f"/{CLOUD.region}/", "/a region/")}
    )
    code, message = endpoint.refused(endpoint.client(service), operation, params)
    assert code in {"IncompleteSignature", "IncompleteSignatureException", "AuthorizationHeaderMalformed"}
    assert message == "Credential should be scoped to a valid region and service."


@pytest.mark.parametrize(("service", "operation", "params"), [call for call in CALLS if call[0] in OURS])
def test_no_signature_is_refused_in_the_clients_protocol(
    endpoint: Endpoint, service: str, operation: str, params: dict[str, Any]
) -> None:
    code, message = endpoint.refused(endpoint.client(service, signed=False), operation, params)
    assert code in {"MissingAuthenticationToken", "MissingAuthenticationTokenException"}
    assert message == "Request is missing Authentication Token"


@pytest.mark.parametrize(("service", "operation", "params"), CALLS)
def test_a_body_that_is_too_large_is_refused_in_the_clients_protocol(
    endpoint: Endpoint, service: str, operation: str, params: dict[str, Any]
) -> None:
    async def refuse(request: Request) -> Response:
        return endpoint.app.refuse(request, BadRequest("Too large.", code="RequestEntityTooLarge"))

    endpoint.answer = refuse
    assert endpoint.refused(endpoint.client(service), operation, params) == ("RequestEntityTooLarge", "Too large.")


@pytest.mark.parametrize(("service", "operation", "params"), [call for call in CALLS if call[0] not in OURS])
def test_a_service_that_is_not_there_is_refused_by_name_and_recorded_by_name(
    endpoint: Endpoint, service: str, operation: str, params: dict[str, Any]
) -> None:
    client = endpoint.client(service)
    code, message = endpoint.refused(client, operation, params)
    assert code == "UnsupportedOperation"
    assert message == f"The service {client.meta.service_model.signing_name} is not supported by this cloud."
    [record] = endpoint.records
    assert record.service == client.meta.service_model.signing_name
    assert record.caller is not None  # so that the account finds it in its trail
    named_by_wire = service not in {"lambda", "route53", "cloudfront", "s3"}
    assert record.operation == (named(client, operation) if named_by_wire else None)


@pytest.mark.parametrize(
    ("service", "key", "code"),
    [
        ("monitoring", KEY, "UnsupportedOperation"),
        ("monitoring", "AKIANOBODY0000000000", "UnrecognizedClientException"),
        ("arc-region-switch", KEY, "UnsupportedOperation"),
    ],
)
def test_clients_of_the_cbor_protocol_read_it(endpoint: Endpoint, service: str, key: str, code: str) -> None:
    """As newer SDKs speak to CloudWatch; botocore reads the protocol, though it prefers another one there."""
    asked = sign(
        url="http://stead.example/service/GraniteServiceVersion20100801/operation/ListMetrics",
        body=b"\xa0",
        headers={"smithy-protocol": "rpc-v2-cbor", "Content-Type": "application/cbor", "Accept": "application/cbor"},
        service=service,
        key=key,
        at=now(),
    )
    answer = asyncio.run(endpoint.app.handle(asked))
    assert answer.headers["smithy-protocol"] == "rpc-v2-cbor"
    shape = load_service("cloudwatch").operation("ListMetrics").output_shape
    headers = {"content-type": answer.content_type, **answer.headers}
    read = create_parser("smithy-rpc-v2-cbor").parse(
        {"headers": headers, "body": answer.body, "status_code": answer.status}, shape
    )
    assert read["Error"]["Code"] == code
    assert read["Error"]["Message"]
    assert endpoint.records[0].operation == "ListMetrics"


@pytest.mark.parametrize(("service_id", "service"), _SERVICE_IDS.items())
def test_clients_that_sign_with_the_services_id_are_known(endpoint: Endpoint, service_id: str, service: str) -> None:
    """As Terraform's provider does for Service Quotas when it is given an endpoint."""
    assert load_service(service).model.metadata["serviceId"] == service_id
    assert service_of_scope(service_id) == service

    def signs_with_it(context: dict[str, Any], **_: Any) -> None:
        context.setdefault("signing", {})["signing_name"] = service_id

    operation, params = next((name, params) for of, name, params in [*CALLS, *MORE] if of == service)
    client = endpoint.client(service)
    client.meta.events.register("choose-signer", signs_with_it)
    code, _ = endpoint.refused(client, operation, params)
    assert not code.startswith(("Incomplete", "Signature", "InvalidSignature", "Auth")), code
    assert endpoint.records[0].service == service
    assert endpoint.records[0].caller is not None


MORE: list[tuple[str, str, dict[str, Any]]] = [
    ("sts", "get_session_token", {}),
    ("autoscaling", "describe_auto_scaling_groups", {}),
]


def test_targets_are_those_of_the_models() -> None:
    found = {
        load_service(service).model.metadata.get("targetPrefix"): service for service in sorted(SIGNING_NAMES.values())
    }
    assert {target: service for target, service in found.items() if target} == _TARGETS
