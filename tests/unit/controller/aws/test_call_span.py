"""The trace of a call: its parts, how it ended, whose call it was a part of, and nothing that a user wrote."""

from collections.abc import Iterator
from typing import Any

import pytest

from stead_controller.aws.call import Call, Operation, Params
from stead_proto import traces
from tests.support import trace_server
from tests.support.trace_server import TraceServer
from tests.unit.controller.aws.conftest import MemoryTransactions, create_volume
from tests.unit.controller.aws.test_app import Chain

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
CALLER = {"traceparent": f"00-{TRACE}-{SPAN}-01"}
CANARY = "canary-5ea1"


class TracedTransactions(MemoryTransactions):
    """Transactions that have a trace, as the database's."""

    trace = ""


@pytest.fixture
def server() -> Iterator[TraceServer]:
    """What this process does is traced."""
    with trace_server.tracing() as server:
        yield server


@pytest.fixture
def chain() -> Chain:
    """An app with traced transactions."""
    chain = Chain()
    chain.transactions = chain.app._transactions = TracedTransactions()
    return chain


async def test_a_call_is_a_part_of_its_callers_trace_and_has_parts(chain: Chain, server: TraceServer) -> None:
    def in_parts(call: Call, params: Params) -> Any:
        with traces.span("placement"):
            return create_volume(call, params)

    chain.operations["ec2", "CreateVolume"] = Operation("ec2", "CreateVolume", in_parts, writes=True)
    answer = await chain.answer(b"Action=CreateVolume&Size=1&AvailabilityZone=z&ClientToken=c", headers=CALLER)
    assert answer.status == 200
    traces.stop()
    [call], [transaction] = server.named("ec2.CreateVolume"), server.named("transaction")
    [authorize], [placement] = server.named("authorize"), server.named("placement")
    assert len(server.spans) == 4
    assert (call.trace, call.parent, call.kind, call.failed) == (TRACE, SPAN, 2, False)
    assert call.about == {
        "aws.request_id": answer.headers["x-amzn-RequestId"],
        "http.response.status_code": 200,
        "rpc.system": "aws-api",
        "rpc.service": "ec2",
        "rpc.method": "CreateVolume",
    }
    assert transaction.about == {"stead.writes": True}
    assert (transaction.parent, authorize.parent, placement.parent) == (call.id, transaction.id, transaction.id)
    assert call.began <= transaction.began <= authorize.began <= authorize.ended <= placement.began
    assert placement.ended <= transaction.ended <= call.ended
    assert chain.transactions.trace == f"00-{TRACE}-{call.id}-01", "what it changes is of this trace"


async def test_a_refusal_is_told_by_its_code_and_an_unknown_operation_not_by_its_name(
    chain: Chain, server: TraceServer
) -> None:
    for body, options in (
        (f"Action=DescribeVolumes&VolumeId.1={CANARY}", {}),
        (f"Action={CANARY}", {}),
        ("Action=DescribeVolumes", {"service": CANARY}),
        ("Action=DescribeVolumes", {"secret": CANARY}),
        ("Action=DescribeRegions", {}),
    ):
        await chain.answer(body.encode(), headers={"User-Agent": CANARY, "X-Other": CANARY}, **options)
    traces.stop()
    calls = [each for each in server.spans if each.kind == 2]
    assert [(each.name, each.about["error.type"]) for each in calls] == [
        ("ec2.DescribeVolumes", "InvalidVolume.NotFound"),
        ("request", "InvalidAction"),
        ("request", "UnsupportedOperation"),
        ("request", "AuthFailure"),
        ("ec2.DescribeRegions", "InternalError"),
    ]
    assert all(each.failed and not each.parent for each in calls)
    assert len({each.trace for each in calls}) == 5
    assert not any(CANARY.encode() in body or b"a secret of the house" in body for body in server.bodies)


async def test_untraced_calls_change_nothing_for_others(chain: Chain) -> None:
    answer = await chain.answer(b"Action=CreateVolume&Size=1&AvailabilityZone=z", headers=CALLER)
    assert answer.status == 200
    assert chain.transactions.trace == ""
    with trace_server.tracing(share=0.0) as server:
        assert (await chain.answer(b"Action=DescribeVolumes")).status == 200
        traces.stop()
    assert server.spans == []
    assert chain.transactions.trace == ""
