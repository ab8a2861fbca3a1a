"""Requests that come by an interface endpoint: which service answers, whose policies hold, what is recorded."""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import boto3
import botocore.config
import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.exceptions import ClientError

from stead_controller.aws.audit import record
from stead_controller.aws.call_record import CallRecord
from stead_controller.aws.failed_logins import FailedLogins
from stead_controller.aws.protocol.message import Request
from stead_controller.aws.protocol.models import SIGNING_NAMES
from stead_controller.resources.network.vpc_endpoint_access import Via
from tests.api.conftest import SECRET, Api

GUEST = "172.31.0.9"


class _Body:
    """What botocore reads an answer's body from."""

    def __init__(self, content: bytes) -> None:
        self.content = content

    def stream(self, **_: Any) -> Iterator[bytes]:
        yield self.content


@dataclass
class By:
    """An endpoint of a service in a VPC of the first tenant, and clients whose requests come by it."""

    api: Api
    endpoint_id: str
    service: str
    vpc_id: str

    def client(self, service: str = "", *, key: str = "", secret: str = SECRET) -> Any:
        """A client of the first tenant's root, or of whom a key names, whose requests come by the endpoint."""
        config = botocore.config.Config(retries={"total_max_attempts": 1})
        service = service or SIGNING_NAMES[self.service]
        make: Any = boto3.client
        made = make(
            service,
            region_name="us-east-1",
            endpoint_url=f"http://{self.service}.us-east-1.amazonaws.com",
            aws_access_key_id=key or self.api.world.one.caller.access_key_id,
            aws_secret_access_key=secret,
            config=config,
        )
        made.meta.events.register("before-send", self._send)
        return made

    def _send(self, request: AWSPreparedRequest, **_: Any) -> AWSResponse:
        path, _, query = request.url.partition("://")[2].partition("?")
        host, _, path = path.partition("/")
        names = {name.lower() for name in request.headers}
        headers = [(name, _text(value)) for name, value in request.headers.items()]
        headers += [] if "host" in names else [("Host", host)]
        content: Any = request.body or b""
        body = content.encode() if isinstance(content, str) else bytes(content)
        via = Via(self.endpoint_id, self.vpc_id, self.service)
        asked = Request(request.method, f"/{path}", query, tuple(headers), body, GUEST, secure=True, via=via)
        answer = asyncio.run(self.api.app.handle(asked))
        received: Any = answer.headers
        return AWSResponse(request.url, answer.status, received, _Body(answer.body))

    def let(self, *statements: dict[str, Any]) -> None:
        """Give the endpoint a policy, by default the one that allows everything."""
        change: dict[str, Any] = {"ResetPolicy": True}
        if statements:
            change = {"PolicyDocument": json.dumps({"Version": "2012-10-17", "Statement": list(statements)})}
        self.api.ec2.modify_vpc_endpoint(VpcEndpointId=self.endpoint_id, **change)


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def by(api: Api, service: str = "ec2") -> By:
    name = "com.amazonaws.iam" if service == "iam" else f"com.amazonaws.us-east-1.{service}"
    params = {"ServiceName": name, "VpcEndpointType": "Interface"}
    made = api.ec2.create_vpc_endpoint(VpcId=api.world.one.vpc_id, **params)["VpcEndpoint"]
    return By(api, made["VpcEndpointId"], service, made["VpcId"])


def allow(*actions: str, **more: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Principal": "*", "Action": list(actions), "Resource": "*"} | more


def refused(code: str, function: Any, **params: Any) -> str:
    with pytest.raises(ClientError) as refusal:
        function(**params)
    error = refusal.value.response["Error"]
    assert error["Code"] == code, error
    return str(error["Message"])


def user(api: Api, *statements: dict[str, Any]) -> tuple[str, str]:
    """Make a user with a policy; give the key."""
    iam = api.client(api.world.one, "iam")
    iam.create_user(UserName="ana")
    document = json.dumps({"Version": "2012-10-17", "Statement": list(statements)})
    iam.put_user_policy(UserName="ana", PolicyName="rights", PolicyDocument=document)
    key = iam.create_access_key(UserName="ana")["AccessKey"]
    return key["AccessKeyId"], key["SecretAccessKey"]


@pytest.mark.parametrize(
    ("service", "ask"),
    [
        ("ec2", lambda client: client.describe_vpcs()["Vpcs"]),
        ("sts", lambda client: client.get_caller_identity()["Account"]),
        ("iam", lambda client: client.list_users()["Users"] == []),
        ("servicequotas", lambda client: client.list_service_quotas(ServiceCode="vpc")["Quotas"]),
        ("ssm", lambda client: client.get_parameters_by_path(Path="/stead", Recursive=True)["Parameters"]),
        ("cloudtrail", lambda client: client.lookup_events()["Events"] == []),
        ("dlm", lambda client: client.get_lifecycle_policies()["Policies"] == []),
        ("ebs", lambda client: client.start_snapshot(VolumeSize=1)["SnapshotId"]),
    ],
)
def test_each_service_answers_by_its_endpoint(api: Api, service: str, ask: Any) -> None:
    assert ask(by(api, service).client())


def test_no_other_service_answers(api: Api) -> None:
    endpoint = by(api, "ec2")
    message = refused("SignatureDoesNotMatch", endpoint.client("sts").get_caller_identity)
    assert message == "Credential should be scoped to correct service: 'ec2'."
    refused("SignatureDoesNotMatch", endpoint.client("iam").list_users)
    refused("SignatureDoesNotMatch", by(api, "iam").client("sts").get_caller_identity)
    refused("AuthFailure", by(api, "sts").client("ec2").describe_vpcs)
    params = {"RoleArn": "arn:aws:iam::111111111111:role/r", "RoleSessionName": "me", "WebIdentityToken": "token"}
    refused("SignatureDoesNotMatch", endpoint.client("sts").assume_role_with_web_identity, **params)


def test_what_its_policy_does_not_allow(api: Api) -> None:
    """For root too, and at once."""
    endpoint = by(api)
    client = endpoint.client()
    vpc = {"CidrBlock": "10.0.0.0/16"}
    assert client.create_vpc(**vpc)["Vpc"]
    endpoint.let(allow("ec2:Describe*"))
    assert client.describe_vpcs()["Vpcs"]
    before = api.dump()
    message = refused("UnauthorizedOperation", client.create_vpc, **vpc)
    assert "because no VPC endpoint policy allows the ec2:CreateVpc action" in message
    assert api.dump() == before
    assert api.ec2.create_vpc(**vpc)["Vpc"]  # past the endpoint it goes on
    endpoint.let()
    assert client.create_vpc(**vpc)["Vpc"]


def test_what_its_policy_denies(api: Api) -> None:
    endpoint = by(api)
    one, other = api.world.one.subnet_ids
    arn = f"arn:aws:ec2:us-east-1:{api.world.one.caller.account_id}:subnet/{one}"
    endpoint.let(allow("*"), {"Effect": "Deny", "Principal": "*", "Action": "ec2:DeleteSubnet", "Resource": arn})
    client = endpoint.client()
    message = refused("UnauthorizedOperation", client.delete_subnet, SubnetId=one)
    assert "with an explicit deny in a VPC endpoint policy" in message
    client.delete_subnet(SubnetId=other)


def test_its_policy_may_name_whom_and_ask_for_tags(api: Api) -> None:
    endpoint = by(api)
    key, secret = user(api, {"Effect": "Allow", "Action": "ec2:*", "Resource": "*"})
    arn = f"arn:aws:iam::{api.world.one.caller.account_id}:user/ana"
    endpoint.let(allow("ec2:*", Principal={"AWS": arn}))
    assert endpoint.client(key=key, secret=secret).describe_vpcs()["Vpcs"]
    refused("UnauthorizedOperation", endpoint.client().describe_vpcs)
    one, other = api.world.one.subnet_ids
    api.ec2.create_tags(Resources=[one], Tags=[{"Key": "use", "Value": "test"}])
    endpoint.let(allow("ec2:DeleteSubnet", Condition={"StringEquals": {"aws:ResourceTag/use": "test"}}))
    refused("UnauthorizedOperation", endpoint.client().delete_subnet, SubnetId=other)
    endpoint.client().delete_subnet(SubnetId=one)


def test_its_policy_gives_no_rights(api: Api) -> None:
    endpoint = by(api)
    endpoint.let(allow("*"))
    key, secret = user(api, {"Effect": "Allow", "Action": "ec2:DescribeSubnets", "Resource": "*"})
    client = endpoint.client(key=key, secret=secret)
    assert client.describe_subnets()["Subnets"]
    assert "identity-based" in refused("UnauthorizedOperation", client.describe_vpcs)


def test_its_policy_is_about_its_own_service(api: Api) -> None:
    """A role that is passed is no business of EC2's endpoint; what everybody may do is asked about all the same."""
    sts = by(api, "sts")
    assert sts.client().get_caller_identity()["Account"]
    sts.let(allow("sts:AssumeRole"))
    message = refused("AccessDenied", sts.client().get_caller_identity)
    assert "no VPC endpoint policy allows the sts:GetCallerIdentity action" in message
    refused("AccessDenied", sts.client("sts").get_session_token)
    ec2 = by(api, "ec2")
    ec2.let(allow("ec2:*"))
    iam = api.client(api.world.one, "iam")
    trust = {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    iam.create_role(RoleName="passed", AssumeRolePolicyDocument=document)
    iam.create_instance_profile(InstanceProfileName="passed")
    iam.add_role_to_instance_profile(InstanceProfileName="passed", RoleName="passed")
    params = {"IamInstanceProfile": {"Name": "passed"}, "InstanceId": api.launch()}
    assert ec2.client().associate_iam_instance_profile(**params)["IamInstanceProfileAssociation"]


@pytest.mark.parametrize("key", ["aws:SourceVpce", "aws:SourceVpc", "aws:VpcSourceIp"])
def test_policies_ask_by_which_endpoint(api: Api, key: str) -> None:
    """What did not come by an endpoint has no such keys."""
    endpoint = by(api)
    value = {"aws:SourceVpce": endpoint.endpoint_id, "aws:SourceVpc": api.world.one.vpc_id}.get(key, f"{GUEST}/32")
    only = {"IpAddress" if key == "aws:VpcSourceIp" else "StringEquals": {key: value}}
    name, secret = user(api, {"Effect": "Allow", "Action": "ec2:*", "Resource": "*", "Condition": only})
    assert endpoint.client(key=name, secret=secret).describe_vpcs()["Vpcs"]
    refused("UnauthorizedOperation", api.long_term(name, secret).describe_vpcs)
    endpoint.let(allow("*", Condition=only))
    assert endpoint.client().describe_vpcs()["Vpcs"]
    other = {"IpAddress": {key: "192.0.2.1/32"}} if key == "aws:VpcSourceIp" else {"StringEquals": {key: "x"}}
    endpoint.let(allow("*", Condition=other))
    refused("UnauthorizedOperation", endpoint.client().describe_vpcs)


def test_a_private_address_is_no_source_address(api: Api) -> None:
    endpoint = by(api)
    from_here = {"IpAddress": {"aws:SourceIp": ["127.0.0.0/8", "172.16.0.0/12"]}}
    key, secret = user(api, {"Effect": "Allow", "Action": "ec2:*", "Resource": "*", "Condition": from_here})
    assert api.long_term(key, secret).describe_vpcs()["Vpcs"]
    refused("UnauthorizedOperation", endpoint.client(key=key, secret=secret).describe_vpcs)


def test_a_deleted_endpoint(api: Api) -> None:
    """Connections that are open yet carry nothing more."""
    endpoint = by(api)
    client = endpoint.client()
    assert client.describe_vpcs()["Vpcs"]
    api.ec2.delete_vpc_endpoints(VpcEndpointIds=[endpoint.endpoint_id])
    refused("AccessDenied", client.describe_vpcs)


def test_records_say_by_which_endpoint(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[CallRecord] = []
    monkeypatch.setattr(api.app, "_on_call", calls.append)
    endpoint = by(api)
    endpoint.client().describe_vpcs()
    api.ec2.describe_vpcs()
    made, came, past = calls
    assert (came.endpoint_id, came.source_ip) == (endpoint.endpoint_id, GUEST)
    event = json.loads(record.draw(came, "us-east-1").text)
    assert (event["vpcEndpointId"], event["sourceIPAddress"]) == (endpoint.endpoint_id, GUEST)
    assert (made.endpoint_id, past.endpoint_id) == ("", "")


def test_failed_logins_of_guests_with_the_same_address_are_counted_apart(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who guesses signatures in one VPC keeps nobody of another VPC with the same address from asking."""
    monkeypatch.setattr(api.app, "_failed_logins", FailedLogins(1, clock=lambda: 0.0))
    endpoint = by(api)
    guess = endpoint.client(secret="wrong").describe_vpcs
    for _ in range(10):
        refused("AuthFailure", guess)
    refused("RequestLimitExceeded", guess)
    elsewhere = replace(endpoint, vpc_id="vpc-00000000000000002")
    refused("AuthFailure", elsewhere.client(secret="wrong").describe_vpcs)
