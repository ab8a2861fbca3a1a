"""The chain without sockets: its order, what observers see, and that no request makes it fall."""

import math
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stead_controller.aws.app import LONGEST_WAIT, AwsApp
from stead_controller.aws.call import Call, Later, Operation, Params, Then
from stead_controller.aws.call_record import CallRecord
from stead_controller.aws.failed_logins import FailedLogins
from stead_controller.aws.protocol.message import Request, Response
from stead_controller.aws.reading import whole
from stead_controller.aws.throttle import Throttle
from stead_controller.errors import NotAuthorized, OutOfRoom, Overloaded, WrongState
from stead_controller.request.caller import NO_CALLER
from stead_controller.request.questions import ConsoleOutput, HostAnswer, Question
from stead_controller.request.transaction import Transaction
from tests.support.examples import examples
from tests.unit.controller.aws.conftest import AUTHORIZER, CLOUD, KEY, OPERATIONS, MemoryTransactions, credential
from tests.unit.controller.aws.test_signature import FORM, NOW, SECRET, sign


class Chain:
    """An app whose clock stands at NOW."""

    def __init__(self, **options: Any) -> None:
        self.transactions = MemoryTransactions()
        self.records: list[CallRecord] = []
        self.lookups: list[str] = []
        self.operations = dict(OPERATIONS)
        self.app = AwsApp(
            transactions=self.transactions,
            find_key=self.find_key,
            cloud=CLOUD,
            page_key=b"k",
            clock=self.now,
            operations=self.operations,
            **{"authorizer": AUTHORIZER, "on_call": self.records.append, **options},
        )

    def now(self) -> datetime:
        return NOW

    async def find_key(self, access_key_id: str, session_token: str | None) -> Any:
        self.lookups.append(access_key_id)
        return credential(KEY) if access_key_id == KEY else None

    async def answer(self, body: bytes, **options: Any) -> Response:
        return await self.app.handle(sign(body=body, **options))


async def test_a_call_carries_what_operations_need() -> None:
    seen: list[Call] = []

    def look(call: Call, params: Params) -> dict[str, Any]:
        seen.append(call)
        whole(params)
        return {}

    chain = Chain()
    chain.operations["ec2", "DeleteVolume"] = Operation("ec2", "DeleteVolume", look, writes=True)
    answer = await chain.answer(b"Action=DeleteVolume&VolumeId=v", headers={"User-Agent": "test/1"})
    assert answer.status == 200
    [call] = seen
    assert (call.caller.access_key_id, call.now, call.cloud, call.page_key) == (KEY, NOW, CLOUD, b"k")
    assert (call.user_agent, call.source_ip) == ("test/1", "127.0.0.1")
    assert call.request_id == answer.headers["x-amzn-RequestId"] == chain.records[0].request_id
    assert call.request_id.encode() in answer.body


class Looking:
    """An authorizer that looks at everything."""

    def authorize(self, call: Call, operation: Operation, params: Params) -> None:
        whole(params)
        assert [params[name] for name in params]


@pytest.mark.parametrize("later", [True, False])
async def test_what_the_operation_did_not_read_is_refused_and_changes_nothing(*, later: bool) -> None:
    def create(call: Call, params: Params) -> Any:
        store: Any = call.tx
        store.volumes.append(params["VolumeType"])
        return Later(ConsoleOutput("i", 1, {}), lambda answer: {}) if later else {}

    chain = Chain(authorizer=Looking())
    chain.operations["ec2", "CreateVolume"] = Operation("ec2", "CreateVolume", create, writes=True)
    answer = await chain.answer(b"Action=CreateVolume&AvailabilityZone=a&VolumeType=gp3&ClientToken=once")
    assert answer.status == 400
    assert b"<Code>UnsupportedOperation</Code>" in answer.body
    assert b"<Message>The parameter AvailabilityZone is not supported by this cloud.</Message>" in answer.body
    assert chain.transactions.outcomes == ["raised"]
    assert chain.transactions.volumes == []
    assert chain.records[0].params["AvailabilityZone"] == "a"


async def test_what_takes_long_is_made_before_the_transaction() -> None:
    order: list[str] = []

    def prepare(params: Params) -> str:
        order.append("prepared")
        return f"made for {params['VolumeId']}"

    def keep(call: Call, params: Params) -> dict[str, Any]:
        order.append(call.prepared)
        return {}

    class Watch:
        def authorize(self, call: Call, operation: Operation, params: Params) -> None:
            order.append("in the transaction")

    chain = Chain(authorizer=Watch())
    chain.operations["ec2", "DeleteVolume"] = Operation("ec2", "DeleteVolume", keep, writes=True, prepare=prepare)
    assert (await chain.answer(b"Action=DeleteVolume&VolumeId=v")).status == 200
    assert order == ["prepared", "in the transaction", "made for v"]


async def test_authorization_comes_before_the_operation_and_inside_the_transaction() -> None:
    class Refuse:
        def authorize(self, call: Call, operation: Operation, params: Params) -> None:
            assert call.tx is not None
            raise NotAuthorized(f"You are not authorized to perform {operation.service}:{operation.name}")

    chain = Chain(authorizer=Refuse())
    answer = await chain.answer(b"Action=CreateVolume&AvailabilityZone=a&DryRun=true")
    assert (answer.status, b"UnauthorizedOperation" in answer.body) == (403, True)
    assert chain.transactions.volumes == []
    assert chain.transactions.outcomes == ["raised"]


async def test_authentication_comes_before_everything_else() -> None:
    chain = Chain()
    for body in (b"Action=DescribeUnicorns", b"Action=CreateVolume&Bogus=1", b"nonsense", b"%%%"):
        answer = await chain.answer(body, secret="wrong")
        assert (answer.status, b"AuthFailure" in answer.body) == (401, True)
    assert chain.transactions.outcomes == []


async def test_wrong_parameters_open_no_transaction() -> None:
    chain = Chain()
    answer = await chain.answer(b"Action=CreateVolume&AvailabilityZone=a&Bogus=1")
    assert (answer.status, b"<Code>UnknownParameter</Code>" in answer.body) == (400, True)
    assert chain.transactions.outcomes == []
    assert (chain.records[0].operation, chain.records[0].error_code) == ("CreateVolume", "UnknownParameter")


def console(call: Call, params: Params) -> Later:
    def finish(answer: HostAnswer) -> dict[str, Any]:
        return {"InstanceId": params["InstanceId"], "Output": answer.content.decode(), "Timestamp": answer.taken_at}

    return Later(ConsoleOutput("h-1", params["InstanceId"], 10), finish)


async def test_later_answers_ask_when_the_transaction_is_over() -> None:
    chain = Chain(ask=None)

    async def ask(question: Question) -> HostAnswer:
        assert chain.transactions.outcomes == ["read"]
        return HostAnswer(question.instance_id.encode(), NOW)

    chain.app._ask = ask
    chain.operations["ec2", "GetConsoleOutput"] = Operation("ec2", "GetConsoleOutput", console, writes=False)
    answer = await chain.answer(b"Action=GetConsoleOutput&InstanceId=i-1")
    assert b"<output>i-1</output>" in answer.body


async def test_a_dry_run_asks_no_host_and_an_unreachable_one_is_a_clean_error() -> None:
    async def away(question: Question) -> HostAnswer:
        raise WrongState("instance", "The host is away.")

    chain = Chain(ask=away)
    chain.operations["ec2", "GetConsoleOutput"] = Operation("ec2", "GetConsoleOutput", console, writes=False)
    answer = await chain.answer(b"Action=GetConsoleOutput&InstanceId=i-1&DryRun=true")
    assert answer.status == 412
    answer = await chain.answer(b"Action=GetConsoleOutput&InstanceId=i-1")
    assert (answer.status, b"IncorrectInstanceState" in answer.body) == (400, True)


@pytest.mark.parametrize("service", ["iam", "autoscaling", "monitoring", "ebs", "dlm", "s3", "x"])
async def test_services_without_operations_answer_in_their_own_words(service: str) -> None:
    answer = await Chain().answer(b"Action=Nothing", service=service)
    assert 400 <= answer.status < 500
    assert answer.body.startswith((b"<", b"{"))


async def test_new_cloudwatch_clients_are_answered_in_json() -> None:
    headers = {
        "X-Amz-Target": "GraniteServiceVersion20100801.PutMetricData",
        "Content-Type": "application/x-amz-json-1.0",
    }
    answer = await Chain().answer(b"{}", service="monitoring", headers=headers)
    assert (answer.status, answer.content_type) == (400, "application/x-amz-json-1.0")
    assert b'"__type":"UnsupportedOperation"' in answer.body


CHAIN = Chain()
NAMES = st.sampled_from(
    ["AvailabilityZone", "Size", "VolumeId", "VolumeId.1", "Filter.1.Name", "Filter.1.Value.1", "DryRun", "Version", "MaxResults",
     "NextToken", "ClientToken", "TagSpecification.1.Tag.1.Key", "TagSpecification.1.ResourceType", "Encrypted", "Iops", "Action"],
)  # fmt: skip
BODIES = st.tuples(
    st.sampled_from(["CreateVolume", "DescribeVolumes", "DeleteVolume", "DescribeInstances", "Nothing", ""]),
    st.lists(st.tuples(NAMES | st.text(max_size=12), st.sampled_from(["1", "true", "vol-1", ""]) | st.text(max_size=12)), max_size=5),
)  # fmt: skip


@settings(max_examples=examples(150), deadline=None)
@given(BODIES)
async def test_no_signed_request_is_a_fault_of_ours(given_body: tuple[str, list[tuple[str, str]]]) -> None:
    action, fields = given_body
    body = f"Action={action}&" + "&".join(f"{name}={value}" for name, value in fields)
    answer = await CHAIN.answer(body.encode("utf-8", "surrogatepass"))
    assert answer.status < 500


TEXT = st.text(max_size=30)


@settings(max_examples=examples(100), deadline=None)
@given(
    st.sampled_from(["GET", "POST", "PUT", "TRACE", "\x00"]),
    TEXT,
    TEXT,
    st.lists(st.tuples(TEXT, TEXT), max_size=4),
    st.binary(),
)
async def test_no_request_at_all_is_a_fault_of_ours(
    method: str, path: str, query: str, headers: list[tuple[str, str]], body: bytes
) -> None:
    answer = await CHAIN.app.handle(Request(method, path, query, tuple(headers), body, ""))
    assert 400 <= answer.status < 500


def test_the_signing_secret_of_these_tests_is_the_endpoints() -> None:
    assert credential(KEY).secret == SECRET


async def test_who_calls_too_often_is_refused_before_the_transaction() -> None:
    chain = Chain(throttle=Throttle(0.02, lambda: 0.0))
    assert (await chain.answer(b"Action=CreateVolume&AvailabilityZone=a&ClientToken=1")).status == 200
    assert (await chain.answer(b"Action=CreateVolume&AvailabilityZone=a&ClientToken=2")).status == 200
    answer = await chain.answer(b"Action=CreateVolume&AvailabilityZone=a&ClientToken=3")
    assert (answer.status, b"<Code>RequestLimitExceeded</Code>" in answer.body) == (503, True)
    assert chain.transactions.outcomes == ["committed", "committed"]
    assert [record.error_code for record in chain.records] == [None, None, "RequestLimitExceeded"]


class _Behind(MemoryTransactions):
    """A database that cannot follow: what does not wait without limit is refused."""

    async def run[T](self, function: Callable[[Transaction], T], **options: Any) -> T:
        if options["writes"] and options.get("within", math.inf) < math.inf:
            raise Overloaded
        return await super().run(function, **options)


async def test_a_change_that_would_wait_too_long_is_refused_as_sdks_know_it() -> None:
    chain = Chain()
    chain.app._transactions = behind = _Behind()
    answer = await chain.answer(b"Action=CreateVolume&AvailabilityZone=a&ClientToken=1")
    assert (answer.status, b"<Code>RequestLimitExceeded</Code>" in answer.body) == (503, True)
    assert b"<Message>Request limit exceeded.</Message>" in answer.body
    assert (await chain.answer(b"Action=DescribeVolumes")).status == 200
    assert (behind.volumes, behind.outcomes) == ([], ["read"])
    assert [record.error_code for record in chain.records] == ["RequestLimitExceeded", None]


async def test_what_follows_the_answer_of_a_host_waits_for_its_turn() -> None:
    async def ask(_question: Question) -> HostAnswer:
        return HostAnswer(b"", NOW)

    chain = Chain(ask=ask)
    made = Then(ConsoleOutput("host", "i-1", 1), lambda _call, _answer: {})
    chain.operations["ec2", "CreateVolume"] = Operation(
        "ec2", "CreateVolume", lambda _call, params: (whole(params), made)[1], writes=True
    )
    assert (await chain.answer(b"Action=CreateVolume&AvailabilityZone=a")).status == 200
    assert chain.transactions.bounds == [LONGEST_WAIT, math.inf]


async def test_too_many_failed_logins_are_not_looked_up_or_recorded() -> None:
    chain = Chain(failed_logins=FailedLogins(0.2, lambda: 0.0))  # two failures
    asked = b"Action=DescribeVolumes"
    assert (await chain.answer(asked)).status == 200
    for number in range(2):
        answer = await chain.answer(asked, key=f"AKIANOBODY{number:010}")
        assert (answer.status, b"<Code>AuthFailure</Code>" in answer.body) == (401, True)
    chain.lookups.clear()
    answer = await chain.answer(asked, key="AKIANOBODY0000000003")
    assert (answer.status, b"<Code>RequestLimitExceeded</Code>" in answer.body) == (503, True)
    assert chain.lookups == []
    assert (await chain.answer(asked)).status == 200  # who was right there before
    assert [record.error_code for record in chain.records] == [None, "AuthFailure", "AuthFailure", None]


async def test_who_signs_nothing_is_in_the_records_as_often_as_may_be() -> None:
    chain = Chain(failed_logins=FailedLogins(0.2, lambda: 0.0))  # two failures
    unsigned = Request("GET", "/", "Action=DescribeVolumes&Version=2016-11-15", (), b"", "192.0.2.9")
    statuses = [(await chain.app.handle(unsigned)).status for _ in range(4)]
    assert statuses == [403, 403, 503, 503]
    assert [(each.operation, each.access_key_id, each.caller) for each in chain.records] == [
        ("DescribeVolumes", "", None)
    ] * 2


async def test_who_needs_no_signature_is_counted_by_what_one_subscriber_has() -> None:
    chain = Chain(throttle=Throttle(0.04, lambda: 0.0))  # two writes
    name = "AssumeRoleWithWebIdentity"
    chain.operations["sts", name] = Operation(
        "sts", name, lambda call, params: whole(params) and {}, writes=False, signed=False
    )
    body = f"Action={name}&Version=2011-06-15&RoleArn=arn:aws:iam::1:role/a&RoleSessionName=run&WebIdentityToken=token"
    found = []
    for last in range(4):
        asked = Request("POST", "/", "", (("content-type", FORM),), body.encode(), f"2001:db8::{last}")
        found.append((await chain.app.handle(asked)).status)
    assert found == [200, 200, 400, 400]


@pytest.mark.parametrize("believed", [True, False])
async def test_who_needs_no_signature_is_in_the_records(*, believed: bool) -> None:
    arn = "arn:aws:sts::123456789012:assumed-role/Deploy/run"

    def begin(call: Call, params: Params) -> dict[str, Any]:
        assert call.caller is NO_CALLER
        whole(params)
        if not believed:
            raise NotAuthorized("no", code="AccessDenied")
        return {
            "Credentials": {
                "AccessKeyId": "ASIAX",
                "SecretAccessKey": "s",
                "SessionToken": "t",
                "Expiration": NOW,
            },
            "AssumedRoleUser": {"Arn": arn, "AssumedRoleId": "AROAX:run"},
        }

    chain = Chain()
    name = "AssumeRoleWithWebIdentity"
    chain.operations["sts", name] = Operation("sts", name, begin, writes=False, signed=False)
    body = (
        f"Action={name}&Version=2011-06-15&RoleArn=arn:aws:iam::123456789012:role/team/Deploy"
        "&RoleSessionName=run&WebIdentityToken=token"
    )
    request = Request("POST", "/", "", (("host", "sts"), ("content-type", FORM)), body.encode(), "127.0.0.1")
    answer = await chain.app.handle(request)
    [record] = chain.records
    assert (answer.status, record.operation, record.access_key_id) == (200 if believed else 403, name, "")
    if not believed:
        assert record.caller is None
        return
    assert record.caller is not None
    assert (record.caller.account_id, record.caller.arn) == ("123456789012", arn)
    assert record.caller.session is not None
    assert record.caller.session.name == "run"


def _no_room() -> None:
    raise OutOfRoom


async def test_without_room_changes_are_refused_and_reads_are_answered() -> None:
    chain = Chain(require_room=_no_room)
    refused = await chain.answer(b"Action=CreateVolume&Version=2016-11-15&AvailabilityZone=eu-1a&ClientToken=v")
    assert (refused.status, b"<Code>ServiceUnavailable</Code>" in refused.body) == (503, True)
    assert (await chain.answer(b"Action=DescribeVolumes&Version=2016-11-15")).status == 200
    assert (chain.transactions.volumes, chain.transactions.outcomes) == ([], ["read"])
    assert [(record.status, record.has_changed) for record in chain.records] == [(503, False), (200, False)]


async def test_without_room_deletions_are_let_through_as_long_as_there_is_room_for_them() -> None:
    request = b"Action=DeleteVolume&Version=2016-11-15&VolumeId=vol-00000000"
    for last, status in ((lambda: None, 200), (_no_room, 503)):
        chain = Chain(require_room=_no_room, require_room_for_deletion=last)
        chain.operations["ec2", "DeleteVolume"] = Operation(
            "ec2", "DeleteVolume", lambda _, params: whole(params) and {}, writes=True, makes_room=True
        )
        assert (await chain.answer(request)).status == status
        assert (await chain.answer(b"Action=DescribeVolumes&Version=2016-11-15")).status == 200


@pytest.mark.parametrize(
    ("service", "query", "waits"),
    [
        ("ec2", "Action=CreateVolume&Version=2016-11-15", True),
        ("ec2", "Action=DescribeVolumes&Version=2016-11-15", False),
        ("iam", "Action=CreateUser&Version=2010-05-08&UserName=u", False),
    ],
)
async def test_changes_of_ec2_wait_until_hosts_have_reported(service: str, query: str, *, waits: bool) -> None:
    order: list[str] = []

    async def reported() -> None:
        order.append("waited")

    def act(_call: Call, params: Params) -> dict[str, Any]:
        whole(params)
        order.append("acted")
        return {}

    chain = Chain(until_hosts_reported=reported)
    for name in ("CreateVolume", "CreateUser", "DescribeVolumes"):
        chain.operations[service, name] = Operation(service, name, act, writes=name.startswith("Create"))
    answer = await chain.answer(query.encode(), service=service)
    assert (answer.status, order) == (200, ["waited", "acted"] if waits else ["acted"])


async def test_what_cannot_be_recorded_is_not_answered() -> None:
    records = []

    async def full(record: CallRecord) -> None:
        records.append(record)
        raise OutOfRoom

    chain = Chain(on_call=full)
    answers = [
        await chain.answer(b"Action=DescribeVolumes&Version=2016-11-15"),
        await chain.answer(b"Action=CreateVolume&Version=2016-11-15&AvailabilityZone=eu-1a&ClientToken=v"),
    ]
    assert [(each.status, b"<Code>ServiceUnavailable</Code>" in each.body) for each in answers] == [(503, True)] * 2
    assert answers[0].headers["x-amzn-RequestId"] == records[0].request_id
    assert [record.has_changed for record in records] == [False, True]
